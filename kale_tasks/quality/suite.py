"""The suite of checks of a step, and the partition that it runs on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kale_tasks.errors import Conflict
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import accepted_path, check_path, read_mark
from kale_tasks.settings.model import Settings
from kale_tasks.settings.quality import Limits

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation


Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Limit:
    """A bound on one figure of a key."""

    name: str
    severity: str
    says: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Suite:
    """What must hold for one table: which columns are read, what is derived, expected and bounded."""

    step: str
    table: str
    columns: Sequence[str]
    features: Callable[[pa.Table], Mapping[str, Any]]
    expect: Callable[[], list["Expectation"]]
    limits: Callable[["Subject"], list[Limit]]
    slice: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # further tables its query reads, and their columns
    inputs: Sequence[str] = ()  # what its lineage must name
    queries: Sequence[str] = ()  # names of queries in sql/checks; each returns one row of figures
    text: bool = True  # whether it has words whose lengths are watched
    more: Callable[["Subject", Figures, Sequence[int]], Figures] = lambda subject, figures, lengths: {}


@dataclass(frozen=True)
class Subject:
    """One committed partition under its suite."""

    lake: Lake
    settings: Settings
    suite: Suite
    key: str

    @cached_property
    def committed(self) -> Committed:
        """The run that stands; Conflict when there is none."""
        found = self.lake.committed(self.suite.table, self.key, self.suite.slice)
        if found is None:
            raise Conflict(f"{self.suite.table} {self.partition} has nothing committed. Run {self.suite.step} first.")
        return found

    @cached_property
    def rows(self) -> Snapshot:
        """Its rows, pinned."""
        return Snapshot.open(self.lake, Partition.of(self.suite.table, self.key, self.suite.slice))

    @property
    def partition(self) -> str:
        """Its name in messages."""
        return Partition.of(self.suite.table, self.key, self.suite.slice).name

    @property
    def limit(self) -> Limits:
        """The configured bounds."""
        return self.settings.quality.limits

    def verdict(self, key: str, slice_: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """What is stored of a committed partition of this table that is fit to compare with."""
        slice_ = self.suite.slice if slice_ is None else slice_
        committed = self.lake.committed(self.suite.table, key, slice_)
        if committed is None:
            return None
        found = read_mark(self.lake, check_path(self.suite.table, key, committed.fingerprint))
        if found and found["status"] == "failed":
            return found if read_mark(self.lake, accepted_path(self.suite.table, key, committed.fingerprint)) else None
        return found

    def earlier(self) -> Iterator[dict[str, Any]]:
        """The verdicts on the latest keys before this one, nearest first."""
        keys = [key for key in self.lake.keys(self.suite.table) if key < self.key]
        found = (self.verdict(key) for key in reversed(keys[-self.settings.quality.drift.keys :]))
        return (verdict for verdict in found if verdict)
