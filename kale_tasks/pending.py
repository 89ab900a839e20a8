"""What the lake still lacks: the one place that the Dags ask before they announce work."""

import json
from collections.abc import Mapping
from typing import Any

from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.models.students import promoted
from kale_tasks.settings.model import Settings


def todo(lake: Lake, settings: Settings) -> dict[str, Any]:
    """Keys that lack a stage, whether a new student is worth while, and keys that no release holds yet."""
    pairs, images = set(lake.keys("pairs")), set(lake.keys("images"))
    first, second = _stage(lake, 1), _stage(lake, 2)
    student = promoted(lake)
    return {
        "images": sorted(pairs - images),
        "stage1": sorted(images - first.keys()),
        "stage2": sorted(images - second.keys()) if student else [],
        "student": student.version if student else None,
        "distill": _distill(lake, settings, first),
        "release": _release(lake, first, second),
    }


def _stage(lake: Lake, stage: int) -> dict[str, Committed]:
    suffix = f"/stage={stage}"
    return {name.removesuffix(suffix): c for name, c in lake.partitions("captions").items() if name.endswith(suffix)}


def _distill(lake: Lake, settings: Settings, first: Mapping[str, Committed]) -> dict[str, Any]:
    learnt = {
        content
        for row in lake.arrow("models", columns=["parents"]).to_pylist()
        for content in json.loads(row["parents"] or "{}").values()
    }
    new = sum(committed.rows for committed in first.values() if committed.content not in learnt)
    wanted = settings.schedule.distill_new_rows
    return {"new_rows": new, "wanted": wanted, "ready": new >= wanted}


def _release(lake: Lake, first: Mapping[str, Committed], second: Mapping[str, Committed]) -> list[str]:
    released = {content for c in lake.partitions("releases").values() for content in c.inputs.values()}
    complete = sorted(first.keys() & second.keys())
    return [key for key in complete if any(c.rows and c.content not in released for c in (first[key], second[key]))]
