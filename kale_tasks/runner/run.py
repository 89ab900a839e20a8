"""A run: one execution of a step on a key, with everything that its verbs share."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from kale_tasks.contract.fingerprint import fingerprint
from kale_tasks.contract.step import Step, contents
from kale_tasks.errors import BadConfig, KaleError
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import blocked_run
from kale_tasks.progress import Progress, Silent
from kale_tasks.runner.ledger import Meter
from kale_tasks.runner.receipts import Receipt, receipts
from kale_tasks.runner.writer import Writer, run_folder
from kale_tasks.settings.model import Settings


class Run:
    """One run of a step on a key. Its inputs are opened once, when it is built, and never read again from the lake."""

    def __init__(
        self,
        step: Step,
        lake: Lake,
        settings: Settings,
        key: str,
        *,
        again: bool | str = False,
        generation: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.step, self.lake, self.settings, self.key = step, lake, settings, check_key(key)
        self.progress = progress or Silent()
        if settings.limit and not lake.preview:
            raise BadConfig("A run on a limited number of rows works in a preview only: open the lake with open_lake.")
        self.config = dict(step.config(settings))  # first: wrong settings are found before anything is opened
        self._opened = dict(step.inputs(lake, settings, self.key))
        self.inputs = contents(self._opened)
        self.previous = lake.committed(step.table, self.key, step.slice)
        # A name says who asks to run again, so that each try of a Dag run asks for the same run.
        self.request = again if isinstance(again, str) else ""
        self.generation = self._next_generation(bool(again)) if generation is None else generation
        self.fingerprint = fingerprint(step, self.config, self.inputs, self.generation)
        self.meter = Meter()

    def _next_generation(self, again: bool) -> int:
        if self.previous is None:
            return int(again)
        answered = bool(self.request) and self.previous.request == self.request
        return self.previous.generation + int(again and not answered)

    @cached_property
    def writer(self) -> Writer:
        """Writes this run's parts."""
        return Writer(self.lake.storage, self.step.name, self.step.table, self.key, self.fingerprint)

    @property
    def folder(self) -> str:
        """The folder of this run's plan, receipts, parts and shards, relative to the warehouse."""
        return run_folder(self.step.table, self.key, self.fingerprint)

    @property
    def committed(self) -> bool:
        """Whether this very run was committed already when it was built."""
        return self.previous is not None and self.previous.fingerprint == self.fingerprint

    def rows(self, name: str) -> Snapshot:
        """Return the input of that name as it was opened when this run was built."""
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


def state(lake: Lake, settings: Settings, step: Step, key: str) -> dict[str, Any]:
    """One cell of the status table."""
    committed = lake.committed(step.table, key, step.slice)
    blocked = blocked_run(lake, step.partition(key)) if step.suite else None
    row = {"key": key, "step": step.name, "state": "missing", "rows": None, "age": None, "fingerprint": None}
    if committed is None:
        return {**row, "state": "blocked", "fingerprint": blocked.fingerprint} if blocked else row
    try:
        fresh = Run(step, lake, settings, key).fingerprint == committed.fingerprint
    except KaleError:
        fresh = False  # an input no longer exists
    age = _age(datetime.now(UTC) - datetime.fromisoformat(committed.at))
    known = {"rows": committed.rows, "age": age, "fingerprint": committed.fingerprint}
    return {**row, **known, "state": "blocked" if blocked else "committed" if fresh else "stale"}


def _age(since: Any) -> str:
    seconds = int(since.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
