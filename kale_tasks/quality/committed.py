"""Finds the runs that a report shows for a key, step by step: those that are committed, and those that are blocked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kale_tasks.contract.registry import STEPS, StepSpec, checked_steps
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import blocked_run
from kale_tasks.quality import verdict
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.runner.seal import SealedRun, read_sealed


@dataclass(frozen=True)
class Found:
    """The run of one step and the result of its checks."""

    spec: StepSpec
    key: str
    committed: Committed  # its account; of a blocked run as it would be committed
    result: CheckResult | None
    blocked: SealedRun | None = None

    @property
    def step(self) -> str:
        """Name of the step."""
        return self.spec.name

    @property
    def table(self) -> str:
        """Table of the step."""
        return self.spec.table

    @property
    def config(self) -> Mapping[str, Any]:
        """Settings of the run."""
        return dict(json.loads(self.committed.config or "{}"))

    @property
    def status(self) -> str:
        """Status of the checks in one word."""
        if self.blocked:
            return "blocked"
        if self.result is None:
            return "not checked"
        return "accepted" if self.result.status == "failed" and self.result.accepted else self.result.status

    def rows(self, lake: Lake) -> Snapshot:
        """Open its rows."""
        return self._snapshot(lake, self.spec.partition(self.key))

    def quarantine(self, lake: Lake) -> Snapshot | None:
        """Open the rows that it quarantined; None if there are none."""
        partition = Partition.of("quarantine", self.key, {"step": self.step})
        has_rows = self.blocked or lake.committed("quarantine", self.key, partition.columns)
        return self._snapshot(lake, partition) if has_rows else None

    def _snapshot(self, lake: Lake, partition: Partition) -> Snapshot:
        return self.blocked.snapshot(lake.storage, partition) if self.blocked else Snapshot.open(lake, partition)


def find(lake: Lake, key: str, *, blocked: bool = False) -> list[Found]:
    """Find all committed runs of a key, in the order of the steps; with `blocked`, the blocked ones in their place."""
    found = (_find(lake, STEPS[name], key, blocked) for name in checked_steps())
    return [one for one in found if one]


def _find(lake: Lake, spec: StepSpec, key: str, blocked: bool) -> Found | None:
    run = blocked_run(lake, spec.partition(key)) if blocked else None
    if run and (sealed := read_sealed(lake.storage, run.folder)):
        return Found(spec, key, sealed.record(), verdict.read(lake.storage, sealed.seal_id), sealed)
    committed = lake.committed(spec.table, key, spec.slice)
    return Found(spec, key, committed, verdict.read(lake.storage, committed.seal_id)) if committed else None
