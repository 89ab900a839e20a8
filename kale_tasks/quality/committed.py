"""What stands committed of a key, step by step, with its verdicts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.quality import verdict
from kale_tasks.quality.verdict import CheckResult

TABLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ingest": ("pairs", {}),
    "images": ("images", {}),
    "dense": ("dense", {}),
    "fuse": ("captions", {"stage": 1}),
    "student": ("captions", {"stage": 2}),
}


@dataclass(frozen=True)
class Found:
    """One committed partition and the result of its checks."""

    step: str
    table: str
    committed: Committed
    result: CheckResult | None

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings that made it."""
        return dict(json.loads(self.committed.config or "{}"))

    @property
    def status(self) -> str:
        """Status of the checks in one word."""
        if self.result is None:
            return "not examined"
        return "accepted" if self.result.status == "failed" and self.result.accepted else self.result.status


def find(lake: Lake, key: str) -> list[Found]:
    """Everything committed of a key, in the order of the steps."""
    found = []
    for step, (table, slice_) in TABLES.items():
        committed = lake.committed(table, key, slice_)
        if committed:
            found.append(Found(step, table, committed, verdict.read(lake, table, key, committed.fingerprint)))
    return found
