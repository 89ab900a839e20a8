"""Canaries: another recipe or engine on a few rows of a key, in a preview, beside the captions that the key has."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.expressions import In

from kale_tasks.captions.steps import find_spec, pass_specs
from kale_tasks.contract.registry import ASSEMBLY, StepSpec
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.preview import PreviewLake, delete_preview, preview_names
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.progress import Progress
from kale_tasks.recipes.files import recipe_name
from kale_tasks.resources import sql
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings

_FILE = "canary.json"
_LEAST = 20  # rows: a share of fewer says nothing
_COLUMNS = [
    "uid", "alt_text", "dense_caption", "caption", "flags", "tokens_out", "finish_reason",
    "facts", "facts_from_alt", "facts_invented",
]  # fmt: skip
_EXAMPLES = 24


@dataclass(frozen=True)
class Canary:
    """What is tried: the preview that holds it, the key, the recipe and engine, and the recipe to compare with."""

    name: str
    key: str
    recipe: str  # as in the settings
    engine: str
    present: str
    rows: int  # of the images that were looked at
    at: str


@dataclass(frozen=True)
class Comparison:
    """A canary beside the captions that the key has, on the images that both have."""

    canary: Canary
    figures: Mapping[str, Sequence[float | None]]  # by name: present, canary
    both: int
    only_present: int  # of the rows that the canary looked at
    only_canary: int
    lost: Mapping[str, int]  # rows that the canary quarantined, by reason
    examples: Sequence[Mapping[str, Any]]  # the captions that differ most in length

    def as_json(self) -> dict[str, Any]:
        """For machines; without texts."""
        known = {name: value for name, value in vars(self).items() if name not in ("canary", "examples")}
        return {**asdict(self.canary), **known}


def start(lake: Lake, changed: Settings, present: Settings, key: str, share: float, progress: Progress) -> Canary:
    """Run the passes and the assembly of a recipe on the first rows of a key, in the preview that `changed` names.

    Rows are in the order of uids, which are hashes: the first ones are a fair sample. The checks of a key do not judge
    it, because they are made for whole keys.
    """
    images = lake.committed("images", key)
    if images is None:
        raise Conflict(f"{key} has no images yet. Run `kale run images --key {key}`.")
    preview = PreviewLake(lake, changed.preview_name)
    if preview.exists:
        raise Conflict(f"There is a preview '{preview.preview}' already. Drop it, or give this canary another name.")
    rows = min(images.rows, max(_LEAST, ceil(share * images.rows)))
    limited = changed.model_copy(update={"limit": rows})
    preview.identify()
    canary = Canary(
        preview.preview, key, changed.caption.recipe, changed.caption.engine, recipe_name(present.caption.recipe), rows,
        utc_now(),
    )  # fmt: skip
    preview.storage.put(_FILE, json.dumps(asdict(canary)).encode())
    for spec in _specs(limited):
        execute(Run(replace(spec, suite=None).load(), preview, limited, key, progress=progress))
    return canary


def canaries(lake: Lake) -> list[Canary]:
    """List the canaries of a lake, the latest first."""
    found = [_read(PreviewLake(lake, name)) for name in preview_names(lake.catalog)]
    return sorted((one for one in found if one), key=lambda one: one.at, reverse=True)


def find(lake: Lake, name: str) -> Canary:
    """Return the canary of this name; BadConfig if there is none."""
    known = canaries(lake)
    for one in known:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in known) or "none"
    raise BadConfig(f"There is no canary '{name[:40]}' (canaries: {names}). `kale canary start` begins one.")


def compare(lake: Lake, canary: Canary) -> Comparison:
    """Compare the captions of a canary with those that the key has, by recipe."""
    preview = PreviewLake(lake, canary.name)
    made = _captions(preview, canary.key, recipe_name(canary.recipe))
    images = lake.arrow("images", canary.key, ["uid"]).sort_by("uid").slice(0, canary.rows)
    present = _captions(lake, canary.key, canary.present, images["uid"].to_pylist())
    with duckdb.connect() as connection:
        connection.register("present", present)
        connection.register("canary", made)
        sides = {row.pop("side"): row for row in connection.sql(sql("reports/canary")).to_arrow_table().to_pylist()}
        shown = connection.sql(sql("reports/canary_examples"), params={"rows": _EXAMPLES})
        examples = shown.to_arrow_table().to_pylist()
    names = dict.fromkeys(name for side in sides.values() for name in side)
    figures = {name: [sides.get(side, {}).get(name) for side in ("present", "canary")] for name in names}
    one, other = set(present["uid"].to_pylist()), set(made["uid"].to_pylist())
    return Comparison(
        canary, figures, len(one & other), len(one - other), len(other - one), _lost(preview, canary), examples
    )


def apply(lake: Lake, changed: Settings, keys: Sequence[str], progress: Progress, check: Any) -> dict[str, int]:
    """Run the recipe of a canary on whole keys in the real lake, with checks; return the captions of each key."""
    made = {}
    for key in keys:
        for spec in _specs(changed):
            run = Run(spec.load(), lake, changed, key, progress=progress)
            made[key] = execute(run, lambda sealed, run=run: check(run, sealed)).rows  # type: ignore[misc]
    return made


def settings_of(canary: Canary, settings: Settings) -> Settings:
    """The settings with the recipe and the engine of a canary."""
    caption = settings.caption.model_copy(update={"recipe": canary.recipe, "engine": canary.engine})
    return settings.model_copy(update={"caption": caption, "limit": None, "preview": None})


def drop(lake: Lake, canary: Canary) -> None:
    """Delete a canary with all that it made."""
    delete_preview(lake.catalog, lake.storage, canary.name)


def _specs(settings: Settings) -> list[StepSpec]:
    return [*pass_specs(settings.caption.recipe), find_spec(ASSEMBLY, settings)]


def _read(preview: PreviewLake) -> Canary | None:
    try:
        return Canary(**json.loads(preview.storage.read(_FILE)))
    except (FileNotFoundError, TypeError, ValueError):
        return None  # a preview of another kind, or of another version


def _captions(lake: Lake, key: str, recipe: str, uids: Sequence[str] | None = None) -> pa.Table:
    if "captions" not in lake.tables() or uids == []:
        return pa.table({name: [] for name in _COLUMNS})
    where = In(term="uid", literals=set(uids)) if uids else None
    return lake.arrow("captions", key, _COLUMNS, where, {"recipe": recipe, "stage": 1})


def _lost(preview: PreviewLake, canary: Canary) -> dict[str, int]:
    lost: dict[str, int] = {}
    for partition in preview.own("quarantine"):
        if partition.key == canary.key:
            for reason in preview.arrow("quarantine", canary.key, ["reason"], slice_=partition.columns)["reason"]:
                lost[str(reason)] = lost.get(str(reason), 0) + 1
    return dict(sorted(lost.items(), key=lambda one: -one[1]))
