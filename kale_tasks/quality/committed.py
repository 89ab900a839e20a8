"""Finds the runs that a report shows for a key, step by step: those that are committed, and those that are blocked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kale_tasks.contract.registry import ASSEMBLY, STEPS, StepSpec, spec_of, step_spec
from kale_tasks.errors import Conflict
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import BlockedRun, blocked_runs
from kale_tasks.quality import verdict
from kale_tasks.quality.suite import sealed_spec
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.runner.seal import SealedRun, read_committed, read_sealed
from kale_tasks.settings.model import Settings


@dataclass(frozen=True)
class Found:
    """The run of one step and the result of its checks."""

    spec: StepSpec
    key: str
    committed: Committed  # its account; of a blocked run as it would be committed
    result: CheckResult | None
    sealed: SealedRun | None = None  # its run, if that is not committed
    config: Mapping[str, Any] = field(default_factory=dict)  # settings of the run

    @property
    def step(self) -> str:
        """Name of the step."""
        return self.spec.name

    @property
    def title(self) -> str:
        """What a page calls the step: by its label, and its recipe if it is one of a recipe."""
        return f"{self.spec.label} ({self.spec.recipe})" if self.spec.recipe else self.spec.label

    @property
    def heading(self) -> str:
        """What tells it from all other runs of the key: passes may share a label, and recipes have steps in common."""
        return self.title if self.spec.recipe else self.step

    @property
    def table(self) -> str:
        """Table of the step."""
        return self.spec.table

    @property
    def status(self) -> str:
        """Status of the checks in one word."""
        if self.result is None:
            return "not checked"
        if self.result.status == "failed" and self.result.accepted:
            return "accepted"
        return "blocked" if self.sealed and self.result.status == "failed" else self.result.status

    def rows(self, lake: Lake) -> Snapshot:
        """Open its rows."""
        return self._snapshot(lake, self.spec.partition(self.key))

    def quarantine(self, lake: Lake) -> Snapshot | None:
        """Open the rows that it quarantined; None if there are none."""
        step = f"{self.step}@{self.spec.recipe}" if self.spec.recipe else self.step
        partition = Partition.of("quarantine", self.key, {"step": step})
        has_rows = self.sealed or lake.committed("quarantine", self.key, partition.columns)
        return self._snapshot(lake, partition) if has_rows else None

    def _snapshot(self, lake: Lake, partition: Partition) -> Snapshot:
        return self.sealed.snapshot(lake.storage, partition) if self.sealed else Snapshot.open(lake, partition)


def find(lake: Lake, key: str, *, blocked: bool = False, sealed: SealedRun | None = None) -> list[Found]:
    """Find all committed runs of a key, in the order of the steps.

    With `blocked`, runs that failed their checks are in their place; with `sealed`, a run that is not committed yet.
    Passes that were never checked are left out: the captions that are made of their texts are checked.
    """
    waiting = {p: run for p, one in blocked_runs(lake).items() if (run := _read(lake, one))} if blocked else {}
    waiting |= {sealed_spec(sealed).partition(key): sealed} if sealed else {}
    committed = {p: c for table in checked_tables() for p, c in lake.partitions(table).items() if p.key == key}
    found = []
    for partition in {*committed, *(p for p in waiting if p.key == key)}:
        spec = spec_of(partition)
        if spec and spec.suite and (one := _find(lake, spec, partition, committed.get(partition), waiting)):
            found.append(one)
    return sorted(found, key=lambda one: (_place(one.spec), one.spec.recipe or "", one.step))


def checked_run(lake: Lake, settings: Settings, step: str, key: str) -> Found:
    """Find the run of a step that blocks a key, or else the committed one; Conflict if it was never checked."""
    partition = step_spec(step, settings.caption.recipe).partition(key)
    found = next((one for one in find(lake, key, blocked=True) if one.spec.partition(key) == partition), None)
    if found is None or found.result is None:
        raise Conflict(f"{step} {key} was not checked yet. Run `kale check {step} --key {key}`.")
    return found


def _find(
    lake: Lake,
    spec: StepSpec,
    partition: Partition,
    committed: Committed | None,
    waiting: Mapping[Partition, SealedRun],
) -> Found | None:
    if sealed := waiting.get(partition):
        result = verdict.read(lake.storage, sealed.seal_id)
        return Found(spec, partition.key, sealed.record(), result, sealed, sealed.config)
    if committed is None:
        return None
    result = verdict.read(lake.storage, committed.seal_id)
    if result is None and spec.name not in STEPS:
        return None
    made = read_committed(lake.storage, spec.table, partition.key, committed)
    return Found(spec, partition.key, committed, result, config=made.config if made else {})


def _read(lake: Lake, run: BlockedRun) -> SealedRun | None:
    return read_sealed(lake.storage, run.folder)


def checked_tables() -> list[str]:
    """Return the tables that have checks."""
    return list(dict.fromkeys([*(spec.table for spec in STEPS.values() if spec.suite), "texts"]))


def _place(spec: StepSpec) -> float:
    """The place of a step in the chain; passes come right before the captions."""
    order = list(STEPS)
    return order.index(spec.name) if spec.name in STEPS else order.index(ASSEMBLY) - 0.5
