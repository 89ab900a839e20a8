"""`kale look`: pictures with all that is known of them, in the terminal or as one page."""

import base64
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from kale_tasks.captions.steps import pass_specs
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.experts.base import open_scorer
from kale_tasks.explore.export import complete_file
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.html import render
from kale_tasks.quality.pictures import COLUMNS, picture
from kale_tasks.recipes.files import recipe_name
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import Settings
from kale_tasks.text.origins import Piece, pieces

if TYPE_CHECKING:
    from PIL.Image import Image

_THUMBNAIL = 320
_CAPTIONS = ["uid", "stage", "alt_text", "dense_caption", "caption", "facts_invented", "flags"]
Row = Mapping[str, Any]


@dataclass
class Seen:
    """A picture with its texts; `found` has what experts and other passes say, by pass."""

    uid: str
    alt_text: str
    caption: str = ""
    dense: str = ""
    stage: int | None = None
    invented: int = 0
    flags: Sequence[str] = ()
    found: dict[str, list[str]] = field(default_factory=dict)
    image: "Image | None" = None

    @property
    def pieces(self) -> list[Piece]:
        """The caption, divided by where its facts come from."""
        return pieces(self.caption, self.dense, self.alt_text)

    @property
    def data_uri(self) -> str:
        """A small version of the picture for a page; empty if it cannot be read."""
        if self.image is None:
            return ""
        small, out = self.image.copy(), io.BytesIO()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        small.save(out, "JPEG", quality=82)
        return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"

    def as_json(self) -> dict[str, Any]:
        """Everything but the picture."""
        return {k: v for k, v in asdict(self._without_image()).items() if k != "image"}

    def _without_image(self) -> "Seen":
        return Seen(**{**self.__dict__, "image": None})


def look(lake: Lake, settings: Settings, key: str, rows: int, *, uid: str = "", worst: bool = False) -> list[Seen]:
    """Gather pictures of a key with their texts: the first by uid, which are a fair sample; or the worst captions.

    `uid` is a uid or the beginning of one. Raises Conflict if the key has no images, BadConfig if none has that uid.
    """
    if lake.committed("images", key) is None:
        raise Conflict(f"{key} has no images yet. Run `kale run images --key {key}`.")
    captions = _captions(lake, settings, key)
    uids = _uids(lake, key, captions, uid, worst)[:rows]
    if uid and not uids:
        raise BadConfig(f"{key} has no image whose uid begins with '{uid}'. `kale show images --key {key}` lists them.")
    if not uids:
        return []
    images = _by_uid(lake, "images", key, COLUMNS, uids)
    pairs = _by_uid(lake, "pairs", key, ["uid", "alt_text"], uids)
    found = _found(lake, settings, key, uids)
    return [
        _seen(one, captions.get(one), pairs.get(one), found[one], picture(lake, images[one]))
        for one in uids
        if one in images
    ]


def write_page(path: Path, title: str, seen: Sequence[Seen]) -> None:
    """Write one HTML page that loads nothing else."""
    with complete_file(path) as unfinished:
        unfinished.write_text(render("look.html", title=title, seen=seen), "utf-8")


def _seen(uid: str, caption: Row | None, pair: Row | None, found: dict[str, list[str]], image: "Image | None") -> Seen:
    of = caption or {}
    return Seen(
        uid,
        (pair or {}).get("alt_text") or "",
        caption=of.get("caption") or "",
        dense=of.get("dense_caption") or "",
        stage=of.get("stage"),
        invented=of.get("facts_invented") or 0,
        flags=of.get("flags") or (),
        found=found,
        image=image,
    )


def _captions(lake: Lake, settings: Settings, key: str) -> dict[str, Row]:
    """The captions of the configured recipe by uid, of either stage."""
    of_recipe = {"recipe": recipe_name(settings.caption.recipe)}
    if "captions" not in lake.tables():
        return {}
    rows = lake.arrow("captions", key, _CAPTIONS, slice_=of_recipe)
    return {row["uid"]: row for row in rows.to_pylist()}


def _uids(lake: Lake, key: str, captions: Mapping[str, Row], uid: str, worst: bool) -> list[str]:
    rows = lake.arrow("images", key, ["uid", "status"])
    if uid:
        return sorted(one for one in rows["uid"].to_pylist() if one.startswith(uid))
    fetched = sorted(rows.filter(pc.equal(rows["status"], "ok"))["uid"].to_pylist())
    if worst:
        captioned = [one for one in fetched if one in captions]
        return sorted(captioned, key=lambda one: _badness(captions[one]), reverse=True)
    return [one for one in fetched if one in captions] or fetched


def _badness(row: Row) -> tuple[int, int]:
    return row["facts_invented"] or 0, len(row["flags"] or ())


def _by_uid(lake: Lake, table: str, key: str, columns: Sequence[str], uids: Sequence[str]) -> dict[str, Row]:
    rows = lake.arrow(table, key, columns, _one_of(uids))
    return {row["uid"]: row for row in rows.to_pylist()}


def _found(lake: Lake, settings: Settings, key: str, uids: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """What the passes of the recipe say of rows, without those that captions are made of, by uid and pass."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    experts = {one.name for one in load_recipe(settings.caption.recipe).passes if one.verb == "expert"}
    known = {p.columns["pass"] for p in lake.partitions("texts") if p.key == key} if "texts" in lake.tables() else ()
    for spec in pass_specs(settings.caption.recipe):
        if spec.label in experts and spec.name in known:
            rows = lake.arrow("texts", key, ["uid", "item", "text", "score", "data"], _one_of(uids), spec.slice)
            for row in sorted(rows.to_pylist(), key=lambda row: (row["uid"], row["item"])):
                found[row["uid"]].setdefault(spec.label, []).append(_said(row))
    return found


def _one_of(uids: Sequence[str]) -> str:
    return f"uid in ({', '.join(repr(uid) for uid in uids)})"


def _said(row: Row) -> str:
    score = "" if row["score"] is None else f" {row['score']:.2f}"
    return f"{row['text'] or 'found'}{score}"


def alt_fits(seen: Sequence[Seen]) -> dict[str, float]:
    """How well each alt-text fits its picture, by uid, the least first; nothing if the scorer is not installed."""
    scorer = open_scorer("labels", {})
    with suppress(ImportError):
        from transformers.utils import logging

        logging.disable_progress_bar()
    pairs = [(one.uid, one.image, one.alt_text) for one in seen if one.image and one.alt_text]
    try:
        scorer.start()
    except BadConfig:
        return {}
    scores = scorer.scores([(image, text) for _, image, text in pairs])
    scorer.stop()
    found = {uid: round(score, 3) for (uid, *_), score in zip(pairs, scores, strict=True)}
    return dict(sorted(found.items(), key=lambda one: one[1]))
