"""Finds what is committed for a key, step by step, with the results of its checks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_tasks.contract.registry import STEPS, checked_steps
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.quality import verdict
from kale_tasks.quality.verdict import CheckResult


@dataclass(frozen=True)
class Found:
    """One committed partition and the result of its checks."""

    step: str
    table: str
    committed: Committed
    result: CheckResult | None

    @property
    def config(self) -> Mapping[str, Any]:
        """Settings of the run."""
        return dict(json.loads(self.committed.config or "{}"))

    @property
    def status(self) -> str:
        """Status of the checks in one word."""
        if self.result is None:
            return "not checked"
        return "accepted" if self.result.status == "failed" and self.result.accepted else self.result.status


def find(lake: Lake, key: str) -> list[Found]:
    """Find all committed partitions of a key, in the order of the steps."""
    found = []
    for spec in (STEPS[name] for name in checked_steps()):
        committed = lake.committed(spec.table, key, spec.slice)
        if committed:
            result = verdict.read(lake, spec.table, key, committed.fingerprint)
            found.append(Found(spec.name, spec.table, committed, result))
    return found
