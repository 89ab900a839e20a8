"""Release formats beside the captions: further texts of a recipe, licences of models, and the holdout."""

import json
from collections.abc import Mapping
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.columns import STRING, STRINGS, Column
from kale_tasks.release.formats.base import Format, StoredImages, caption_columns
from kale_tasks.settings.model import Settings


class View(Format):
    """One further text of a recipe (`also:`) as a config of its own."""

    name = "view"
    about = "a further text of the recipe"
    columns: ClassVar = [
        *caption_columns("uid", "url", "sha256", "key", "stage"),
        Column("text", STRING, "The text."),
    ]

    def __init__(self, view: str = "") -> None:
        self.view = view
        self.name = f"view:{view}"  # type: ignore[misc]
        self.about = f"the text `{view}` of the recipe, of the captions that have one"  # type: ignore[misc]

    @property
    def folder(self) -> str:
        return f"view-{self.view}"

    @property
    def configs(self) -> Mapping[str, str]:
        return {self.folder: self.about}

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        texts = [json.loads(also).get(self.view) if also else None for also in captions["also"].to_pylist()]
        rows = captions.select(["uid", "url", "sha256", "key", "stage"])
        return rows.append_column("text", pa.array(texts, STRING)).filter(pc.is_valid(pa.array(texts, STRING)))


class Licenses(Format):
    """The models of each caption and their licences, as `publish.licenses` gives them."""

    name = "licenses"
    about = "the models that had a part in each caption, and their licences"
    columns: ClassVar = [
        *caption_columns("uid", "key", "stage", "models"),
        Column("licenses", STRINGS, "The licence of each of these models; null if it is not stated."),
    ]

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = known or {}

    def configured(self, settings: Settings) -> Self:
        return type(self)(settings.publish.licenses)

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        found = [
            [license_of(self._known, model) for model in models or ()] for models in captions["models"].to_pylist()
        ]
        rows = captions.select(["uid", "key", "stage", "models"])
        return rows.append_column("licenses", pa.array(found, STRINGS))


class Holdout(Format):
    """Images with their alt-text that no model was trained on, and nobody has captioned."""

    name = "holdout"
    about = "images that no model was trained on, with their alt-text and without a caption; its split is `holdout`"
    images = True
    of_captions = False
    split = "holdout"
    columns: ClassVar = caption_columns("uid", "url", "sha256", "alt_text", "key")

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        return captions.select([column.name for column in self.columns])


def license_of(known: Mapping[str, str], model: str) -> str | None:
    """Return the licence of a model, which is named as name@revision; None if it is not stated."""
    return known.get(model) or known.get(model.partition("@")[0])
