"""Lists the work that is pending in a lake. The Dags ask nothing else before they wake the next Dag."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from kale_tasks.captions.steps import pass_specs
from kale_tasks.contract.registry import ASSEMBLY, StepSpec, step_spec
from kale_tasks.errors import KaleError
from kale_tasks.lake.freshness import changed_inputs, current_contents, is_fresh
from kale_tasks.lake.holds import held_partitions
from kale_tasks.lake.marks import unanswered_marks
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import blocked_runs
from kale_tasks.models.students import promoted
from kale_tasks.recipes.files import HOLDOUT, JUDGED_BY, recipe_name, recipes_of, variant_of
from kale_tasks.release.choice import UnfitCaptions
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings

_Runs = Mapping[str, Committed]  # by key


def pending_work(lake: Lake, settings: Settings, quiet: timedelta | None = None) -> dict[str, Any]:
    """List keys to ingest again, keys that lack images, keys to release, and what each configured recipe lacks.

    Keys are to be ingested again, in this order, if an earlier key that was committed later keeps some of their pairs.
    Of a recipe these are the keys that lack captions of either stage, whether a new student is due, and the first keys
    whose holdout lacks captions to judge it by. A key whose rows were made from inputs that have changed since is
    listed as if it lacked them. A blocked key is not listed until its inputs change or a person accepts the run, and
    one that a person holds at another run not until it is released. With `quiet`, neither is a key for which something
    was written since then: somebody is working on it.
    """
    of = _Pending(lake, settings, datetime.now(UTC) - quiet if quiet else None)
    recipes = {recipe_name(recipe): recipe for recipe in recipes_of(settings)}
    made = {name: [of.committed(step, name) for step in ("fuse", "student")] for name in recipes}
    return {
        "ingest": of.marked(),
        "images": of.due("images", of.committed("ingest")),
        "recipes": {
            name: _of_recipe(of, settings, recipe, stage1)
            for (name, recipe), (stage1, _) in zip(recipes.items(), made.values(), strict=True)
        },
        "release": _release(lake, [[of.fresh(stage) for stage in stages] for stages in made.values()]),
    }


def _of_recipe(of: "_Pending", settings: Settings, recipe: str, stage1: _Runs) -> dict[str, Any]:
    images, student = of.committed("images"), promoted(of.lake, recipe_name(recipe))
    return {
        "stage1": of.due("fuse", images, recipe),
        "stage2": of.due("student", images, recipe) if student else [],
        "student": student.version if student else None,
        "distill": _distill(of.lake, settings, stage1),
        "holdout": _holdout(of, settings, recipe, stage1, images),
    }


class _Pending:
    """What is committed, blocked and held, read once for all recipes."""

    def __init__(self, lake: Lake, settings: Settings, after: datetime | None) -> None:
        self.lake, self._settings, self._after = lake, settings, after
        self._current, self._blocked = current_contents(lake), blocked_runs(lake)
        self._held = held_partitions(lake.storage)

    def committed(self, step: str, recipe: str = "") -> dict[str, Committed]:
        """Return what a step has committed, by key; of this recipe, if the step is one of a recipe."""
        spec = step_spec(step, recipe)
        return {p.key: c for p, c in self._partitions[spec.table].items() if p.within(spec.slice)}

    def fresh(self, made: _Runs) -> dict[str, Committed]:
        """Those of committed runs that were made from what is committed now."""
        return {key: committed for key, committed in made.items() if is_fresh(key, committed, self._current)}

    def marked(self) -> list[str]:
        """List the keys to ingest again, without those that are held, blocked or worked on."""
        marked = sorted(partition.key for partition in unanswered_marks(self.lake, "pairs"))
        return self._left(marked, [step_spec("ingest")])

    def due(self, step: str, keys: Iterable[str], recipe: str = "") -> list[str]:
        """List the keys for which a step made nothing fresh, without those that are held, blocked or worked on.

        Captions wait for the passes that they are made of, too.
        """
        fresh = self.fresh(self.committed(step, recipe))
        missing = [key for key in sorted(keys) if key not in fresh]
        passes = pass_specs(recipe) if missing and step == ASSEMBLY else []
        return self._left(missing, [step_spec(step, recipe), *passes])

    def _left(self, keys: Iterable[str], steps: Sequence[StepSpec]) -> list[str]:
        """Return the keys for which no person must decide about one of these steps, and nobody works on one."""
        tables = {spec.table for spec in steps}
        free = (key for key in keys if not any(self._waits(spec, key) for spec in steps))
        return [key for key in free if not self._is_busy(key, tables)]

    def _waits(self, spec: StepSpec, key: str) -> bool:
        partition = spec.partition(key)
        blocked = self._blocked.get(partition)
        if blocked and not changed_inputs(key, blocked.inputs, self._current):
            return True
        return partition in self._held and not self._is_current(spec, key)

    def _is_current(self, spec: StepSpec, key: str) -> bool:
        """Whether the run at which a key is held is the one that would be made now."""
        try:
            return Run(spec.load(), self.lake, self._settings, key).committed
        except KaleError:  # an input no longer exists
            return False

    def _is_busy(self, key: str, tables: Iterable[str]) -> bool:
        entries = (entry for table in sorted(tables) for entry in self.lake.storage.entries(f"{table}/key={key}"))
        return self._after is not None and any(entry.modified > self._after for entry in entries)

    @cached_property
    def _partitions(self) -> dict[str, dict[Partition, Committed]]:
        return {table: self.lake.partitions(table) for table in ("pairs", "images", "captions")}


def _distill(lake: Lake, settings: Settings, stage1: _Runs) -> dict[str, Any]:
    """Count the stage-1 captions that no student was trained on."""
    trained_on = {
        content
        for row in lake.arrow("models", columns=["parents"]).to_pylist()
        for content in json.loads(row["parents"] or "{}").values()
    }
    new = sum(committed.rows for committed in stage1.values() if committed.content not in trained_on)
    wanted = settings.schedule.distill_new_rows
    return {"new_rows": new, "wanted": wanted, "ready": new >= wanted}


def _holdout(of: "_Pending", settings: Settings, recipe: str, stage1: _Runs, images: _Runs) -> list[str]:
    """List the first keys whose holdout is not captioned, until there are as many captions as students are judged by.

    How many a key will have is estimated by the share of the holdout, so a later look may find that more are needed.
    """
    variants = {variant: variant_of(recipe, variant) for variant in JUDGED_BY}
    made = {variant: of.committed(ASSEMBLY, name) for variant, name in variants.items()}
    missing = {key for name in variants.values() for key in of.due(ASSEMBLY, stage1, name)}
    found, rows = list[str](), 0.0
    for key in sorted(stage1.keys() & images.keys()):
        if rows >= settings.distill.gate.rows:
            break
        if key in missing:
            found.append(key)
            rows += images[key].rows * settings.ingest.split.holdout
        elif known := made[HOLDOUT].get(key):
            rows += known.rows
    return found


def _release(lake: Lake, recipes: Iterable[Sequence[_Runs]]) -> list[str]:
    """Keys with captions of both stages of a recipe, some of which no release contains although they are fit for it."""
    released = {content for c in lake.partitions("releases").values() for content in c.inputs.values()}
    new = [
        (key, made)
        for stage1, stage2 in recipes
        for key in stage1.keys() & stage2.keys()
        for made in (stage1[key], stage2[key])
        if made.rows and made.content not in released
    ]
    unfit = UnfitCaptions(lake) if new else None
    return sorted({key for key, made in new if unfit and not unfit.reason(key, made)})
