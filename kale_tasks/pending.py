"""Lists the work that is pending in a lake. The Dags ask nothing else before they wake the next Dag."""

import json
from collections.abc import Mapping
from typing import Any

from kale_tasks.contract.registry import step_spec
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.models.students import promoted
from kale_tasks.settings.model import Settings


def pending_work(lake: Lake, settings: Settings) -> dict[str, Any]:
    """List the keys that lack images or captions, the keys to release, and whether a new student is due."""
    pairs, images = _committed(lake, "ingest").keys(), _committed(lake, "images").keys()
    stage1, stage2 = _committed(lake, "fuse"), _committed(lake, "student")
    student = promoted(lake)
    return {
        "images": sorted(pairs - images),
        "stage1": sorted(images - stage1.keys()),
        "stage2": sorted(images - stage2.keys()) if student else [],
        "student": student.version if student else None,
        "distill": _distill(lake, settings, stage1),
        "release": _release(lake, stage1, stage2),
    }


def _committed(lake: Lake, step: str) -> dict[str, Committed]:
    """Return what a step has committed, by key."""
    spec = step_spec(step)
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
