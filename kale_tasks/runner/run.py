"""A run: one execution of a step on a key, with everything that its verbs share."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from kale_tasks import __version__
from kale_tasks.contract.fingerprint import fingerprint
from kale_tasks.contract.step import Input, Step, contents
from kale_tasks.contract.types import Pin, Plan
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake import verdicts
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.marks import marks
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot, runs_at
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Progress, Silent
from kale_tasks.runner.meter import Meter
from kale_tasks.runner.receipts import Receipt, receipts
from kale_tasks.runner.writer import Writer, is_withdrawn, run_folder
from kale_tasks.settings.model import Settings

REPAIR = "repair-"  # how the names of requests to make damaged rows again begin


class Run:
    """One run of a step on a key. Its inputs are opened once, by the process that plans it."""

    def __init__(  # noqa: PLR0913
        self,
        step: Step,
        lake: Lake,
        settings: Settings,
        key: str,
        *,
        again: str = "",
        progress: Progress | None = None,
        plan: Plan | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a run on the lake as it is now, or as another process has planned it.

        `again` names a request to run although nothing has changed; each try of the request opens the same run.
        `config` is what the step says of these settings, if it was asked before: it is the same for every key.
        Raises Conflict if an input is missing, or if the step would no longer do what the plan says.
        """
        self.step, self.lake, self.key = step, lake, check_key(key)
        self.settings = settings if plan is None else _settings_of(plan, settings)
        self.progress = progress or Silent()
        if self.settings.limit and not lake.preview:
            raise BadConfig("A run on a limited number of rows works in a preview only: open the lake with open_lake.")
        # First: wrong settings are found before anything is opened.
        self.config = dict(step.config(self.settings) if config is None else config)
        # The marks before the inputs: what a mark announces was committed before it, so these inputs include it.
        self.previous = lake.committed(step.table, self.key, step.slice)
        self.because = plan.because if plan else self._because(again)
        self._opened: dict[str, Input] = (
            {**plan.inputs, **unpinned(lake, plan.pins)} if plan else dict(step.inputs(lake, self.settings, self.key))
        )
        self.inputs = plan.inputs if plan else contents(self._opened, as_made=step.as_made)
        self.fingerprint = fingerprint(step, self.config, self.inputs, self.because)
        self._check_plan(plan)
        while plan is None and not self.committed and is_withdrawn(lake.storage, self.folder):
            self.because = (*self.because, f"after-{self.fingerprint}")
            self.fingerprint = fingerprint(step, self.config, self.inputs, self.because)
        self.former = _former_of(plan, lake) if plan else self._rows_to_replace(again)
        self._planned = plan
        self.meter = Meter()

    @cached_property
    def side_inputs(self) -> dict[str, Snapshot]:
        """What its rows depend on through marks instead of the fingerprint, by name.

        Opened when it is first asked for: whoever only plans or compares fingerprints needs none.
        """
        table, at = self.step.side_table, self.side_snapshot
        if at is None:
            return {}
        # A preview has rows of two tables, which no snapshot names.
        found = Snapshot.open_all(self.lake, table) if self.lake.preview else Snapshot.open_at(self.lake, table, at)
        return {p.key: one for p, one in found.items() if self._is_earlier(p)}

    @property
    def side_runs(self) -> dict[str, str]:
        """The run that made each of its side inputs, by name; they are not opened for this, except in a preview."""
        at = self.side_snapshot
        if at is None or self.lake.preview or "side_inputs" in vars(self):
            return {name: found.committed.fingerprint for name, found in self.side_inputs.items()}
        runs = runs_at(self.lake, self.step.side_table, at)
        return {p.key: run for p, run in runs.items() if self._is_earlier(p)}

    def _is_earlier(self, partition: Partition) -> bool:
        return partition.key < self.key and partition.within(self.step.slice)

    def _because(self, again: str) -> tuple[str, ...]:
        found = {mark.name for mark in marks(self.lake.storage, self.partition)} | ({again} if again else set())
        return tuple(sorted(found.union(self.previous.because if self.previous else ())))

    def _rows_to_replace(self, again: str) -> Snapshot | None:
        """Open the committed rows from which unchanged ones may be carried over.

        None are if a person asks to run again, and none of a run whose checks failed after it was committed.
        """
        of = self.previous
        if not self.step.carries or of is None or self.committed or (again and not again.startswith(REPAIR)):
            return None
        if self.step.suite and not verdicts.is_cleared(self.lake.storage, of.seal_id):
            return None
        found = self.lake.opened(self.partition)
        if found is None or found[0].version != of.version:
            return None  # replaced meanwhile: this run cannot be committed
        files = tuple(file for file in found[1] if "://" in file.path or self.lake.storage.exists(file.path))
        return Snapshot(self.lake.storage, self.partition, found[0], files)

    def _check_plan(self, plan: Plan | None) -> None:
        if plan and (plan.fingerprint != self.fingerprint or plan.version != self.version):
            what = "KALE has another version here" if plan.version != self.version else _changed(plan, self.config)
            raise Conflict(f"{self.step.name} {self.key} was planned as {plan.fingerprint}, but {what}. Plan again.")

    @property
    def version(self) -> str:
        """The version of this package and of the step: processes of another version must not add parts."""
        return f"{__version__}/{self.step.name}-{self.step.version}"

    @property
    def partition(self) -> Partition:
        """The partition that this run makes."""
        return self.step.partition(self.key)

    @cached_property
    def writer(self) -> Writer:
        """Writes this run's parts."""
        return Writer(
            self.lake.storage,
            self.step.name,
            self.step.table,
            self.key,
            self.fingerprint,
            str(self.step.side_slice("quarantine")["step"]),
        )

    @property
    def folder(self) -> str:
        """The folder of this run's plan, receipts, parts and shards, relative to the warehouse."""
        return run_folder(self.step.table, self.key, self.fingerprint)

    @property
    def committed(self) -> bool:
        """Whether this very run was committed already when it was opened."""
        return self.previous is not None and self.previous.fingerprint == self.fingerprint

    @property
    def pins(self) -> dict[str, Pin]:
        """The partitions among its inputs, as they were opened."""
        return {name: _pin(found) for name, found in self._opened.items() if isinstance(found, Snapshot)}

    @cached_property
    def side_snapshot(self) -> int | None:
        """The snapshot of the step's side table that it reads, taken after the marks."""
        return self._planned.side_snapshot if self._planned else self.step.side_snapshot(self.lake)

    @property
    def former_pin(self) -> Pin | None:
        """The rows that it replaces, as they were opened."""
        return _pin(self.former) if self.former else None

    def rows(self, name: str) -> Snapshot:
        """Return the input of that name as it was opened when this run was planned."""
        found = self._opened[name]
        if isinstance(found, str):
            raise TypeError(f"The input '{name}' of {self.step.name} is not a partition.")
        return found

    def receipts(self) -> dict[int, Receipt]:
        """The parts that are finished, by number."""
        return receipts(self.lake.storage, self.folder)

    def measure(self, name: str, value: float) -> None:
        """Add to a figure of the ledger line (seconds generating, bytes fetched); not part of the data."""
        self.meter.add(name, value)


def _former_of(plan: Plan, lake: Lake) -> Snapshot | None:
    return unpinned(lake, {"former": plan.former})["former"] if plan.former else None


def _settings_of(plan: Plan, settings: Settings) -> Settings:
    try:
        return settings.with_values(plan.settings)
    except ValueError as error:
        raise BadConfig(f"{plan.step} {plan.key} was planned by another version of KALE. Plan again.") from error


def _changed(plan: Plan, config: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*plan.config, *config} if plan.config.get(name) != config.get(name))
    return f"what it reads outside the lake has changed since ({', '.join(names)})"


def _pin(found: Snapshot) -> Pin:
    committed = replace(found.committed, inputs={}, because=())  # nobody reads these of an input
    return Pin(table=found.partition.table, name=found.partition.name, committed=committed, files=found.files)


def unpinned(lake: Lake, pins: Mapping[str, Pin]) -> dict[str, Snapshot]:
    """Open the pinned inputs of a plan."""
    return {
        name: Snapshot(lake.storage, Partition.parse(pin.table, pin.name), pin.committed, pin.files)
        for name, pin in pins.items()
    }
