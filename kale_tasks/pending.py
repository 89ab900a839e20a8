"""Lists the work that is pending in a lake. The Dags ask nothing else before they wake the next Dag."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kale_tasks.contract.registry import step_spec
from kale_tasks.lake.freshness import changed_inputs, current_contents, is_fresh
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import BlockedRun, blocked_runs
from kale_tasks.models.students import promoted
from kale_tasks.recipes.files import recipe_name
from kale_tasks.settings.model import Settings


def pending_work(lake: Lake, settings: Settings, quiet: timedelta | None = None) -> dict[str, Any]:
    """List the keys that lack images or captions, the keys to release, and whether a new student is due.

    Captions and student are those of the configured recipe.
    A key whose rows were made from inputs that have changed since is listed as if it lacked them. A blocked key is not
    listed until its inputs change or a person accepts the run. With `quiet`, neither is a key for which something was
    written since then: somebody is working on it.
    """
    recipe = recipe_name(settings.caption.recipe)
    pairs, images, stage1, stage2 = (_committed(lake, name, recipe) for name in ("ingest", "images", "fuse", "student"))
    current, blocked = current_contents(lake), blocked_runs(lake)
    after = datetime.now(UTC) - quiet if quiet else None

    def due(made: Mapping[str, Committed], keys: Iterable[str], *tables: str) -> list[str]:
        stale = [key for key in sorted(keys) if not is_fresh(key, made.get(key), current)]
        waiting = {
            partition.key
            for partition, run in blocked.items()
            if partition.table in tables
            and partition.columns.get("recipe", recipe) == recipe
            and _still_blocked(run, current)
        }
        return [key for key in stale if key not in waiting and not _busy(lake, key, tables, after)]

    student = promoted(lake, recipe)
    return {
        "images": due(images, pairs, "images"),
        "stage1": due(stage1, images, "texts", "captions"),
        "stage2": due(stage2, images, "captions") if student else [],
        "student": student.version if student else None,
        "distill": _distill(lake, settings, stage1),
        "release": _release(lake, *({k: c for k, c in s.items() if is_fresh(k, c, current)} for s in (stage1, stage2))),
    }


def _still_blocked(run: BlockedRun, current: Mapping[str, Mapping[str, str]]) -> bool:
    return not changed_inputs(run.key, run.inputs, current)


def _busy(lake: Lake, key: str, tables: Sequence[str], after: datetime | None) -> bool:
    entries = (entry for table in sorted(tables) for entry in lake.storage.entries(f"{table}/key={key}"))
    return after is not None and any(entry.modified > after for entry in entries)


def _committed(lake: Lake, step: str, recipe: str) -> dict[str, Committed]:
    """Return what a step has committed, by key; of this recipe, if the step is one of a recipe."""
    spec = step_spec(step, recipe)
    return {p.key: c for p, c in lake.partitions(spec.table).items() if p.within(spec.slice)}


def _distill(lake: Lake, settings: Settings, stage1: Mapping[str, Committed]) -> dict[str, Any]:
    """Count the stage-1 captions that no student was trained on."""
    trained_on = {
        content
        for row in lake.arrow("models", columns=["parents"]).to_pylist()
        for content in json.loads(row["parents"] or "{}").values()
    }
    new = sum(committed.rows for committed in stage1.values() if committed.content not in trained_on)
    wanted = settings.schedule.distill_new_rows
    return {"new_rows": new, "wanted": wanted, "ready": new >= wanted}


def _release(lake: Lake, stage1: Mapping[str, Committed], stage2: Mapping[str, Committed]) -> list[str]:
    """Keys with captions of both stages, some of which no release contains."""
    released = {content for c in lake.partitions("releases").values() for content in c.inputs.values()}
    complete = sorted(stage1.keys() & stage2.keys())
    return [key for key in complete if any(c.rows and c.content not in released for c in (stage1[key], stage2[key]))]
