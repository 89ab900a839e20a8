"""Suites of checks: what is read, derived, expected and bounded for the rows of a step. Other packages can add some."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.registry import STEPS, StepSpec, checked_steps
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import accepted_path, check_path, read_mark
from kale_tasks.registry import Registry
from kale_tasks.settings.model import Settings
from kale_tasks.settings.quality import Limits

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation


Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Limit:
    """A check on one figure of a key: it must not be below `low` nor above `high`."""

    name: str  # of the figure
    severity: str  # critical or warning
    says: str
    low: float | None = None
    high: float | None = None


class Suite:
    """Checks on the rows that a step commits.

    A subclass overrides what it needs. All suites of a step run together: they read the rows once.
    """

    steps: ClassVar[Sequence[str]] = ()  # for suites of other packages: the steps whose rows they check
    columns: ClassVar[Sequence[str]] = ()  # columns of the step's table that it reads
    tables: ClassVar[Mapping[str, Sequence[str]]] = {}  # other tables that its queries read, and their columns
    inputs: ClassVar[Sequence[str]] = ()  # tables that a commit must name as its inputs
    text: ClassVar[bool] = False  # derives `words`, whose distribution is compared with that of earlier keys

    def features(self, rows: pa.Table) -> Mapping[str, Any]:
        """Derive columns from the rows. Called once per batch, for Spark in its executors."""
        return {}

    def expectations(self) -> list["Expectation"]:
        """Return the expectations on single rows; those of `suites.common` make most of them."""
        return []

    def queries(self) -> list[str]:
        """Return SQL queries on the rows, named `batch`, and `tables`. Each returns one row of figures.

        They run on DuckDB and on Spark.
        """
        return []

    def figures(self, subject: "Subject", figures: Figures, lengths: Sequence[int]) -> Figures:
        """Compute more figures, from those of the queries and the histogram of words."""
        return {}

    def limits(self, subject: "Subject") -> list[Limit]:
        """Return the checks on figures. A figure of None is skipped."""
        return []


class JoinedSuite(Suite):
    """All suites of one step as one."""

    def __init__(self, suites: Sequence[Suite]) -> None:
        self.suites = suites
        columns = dict.fromkeys(column for suite in suites for column in suite.columns)
        tables: dict[str, list[str]] = {}
        for suite in suites:
            for table, names in suite.tables.items():
                tables[table] = list(dict.fromkeys([*tables.get(table, []), *names]))
        self.columns, self.tables = list(columns), tables  # type: ignore[misc]
        self.inputs = [name for suite in suites for name in suite.inputs]  # type: ignore[misc]
        self.text = any(suite.text for suite in suites)  # type: ignore[misc]

    def features(self, rows: pa.Table) -> Mapping[str, Any]:
        return _merged("column", [suite.features(rows) for suite in self.suites])

    def expectations(self) -> list["Expectation"]:
        return [expectation for suite in self.suites for expectation in suite.expectations()]

    def queries(self) -> list[str]:
        return [query for suite in self.suites for query in suite.queries()]

    def figures(self, subject: "Subject", figures: Figures, lengths: Sequence[int]) -> Figures:
        return _merged("figure", [suite.figures(subject, figures, lengths) for suite in self.suites])

    def limits(self, subject: "Subject") -> list[Limit]:
        return [limit for suite in self.suites for limit in suite.limits(subject)]


@dataclass(frozen=True)
class Subject:
    """The committed rows of a step and key that a suite checks."""

    lake: Lake
    settings: Settings
    spec: StepSpec
    key: str
    suite: Suite

    @property
    def partition(self) -> Partition:
        """The partition that the step writes."""
        return self.spec.partition(self.key)

    @cached_property
    def committed(self) -> Committed:
        """The committed run; raises Conflict when there is none."""
        found = self.lake.committed(self.spec.table, self.key, self.spec.slice)
        if found is None:
            raise Conflict(f"{self.partition} has nothing committed. Run {self.spec.name} first.")
        return found

    @cached_property
    def rows(self) -> Snapshot:
        """Its rows, pinned to one snapshot."""
        return Snapshot.open(self.lake, self.partition)

    @property
    def limit(self) -> Limits:
        """The configured thresholds."""
        return self.settings.quality.limits

    def comparable(self, key: str, slice_: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Read the check result of another committed partition, or None if it failed and nobody accepted that."""
        committed = self.lake.committed(self.spec.table, key, self.spec.slice if slice_ is None else slice_)
        if committed is None:
            return None
        found = read_mark(self.lake, check_path(self.spec.table, key, committed.fingerprint))
        if found and found["status"] == "failed":
            return found if read_mark(self.lake, accepted_path(self.spec.table, key, committed.fingerprint)) else None
        return found

    def earlier(self) -> Iterator[dict[str, Any]]:
        """Yield the check results of the latest `quality.drift.keys` keys before this one, the latest first."""
        keys = [key for key in self.lake.keys(self.spec.table) if key < self.key]
        found = (self.comparable(key) for key in reversed(keys[-self.settings.quality.drift.keys :]))
        return (result for result in found if result)


CHECKS: Registry[type[Suite]] = Registry("suite of checks", "kale.checks", {})  # those of other packages


def find_suite(step: str) -> Suite:
    """Join all suites of a step, the built-in one first. Raises BadConfig if there is none."""
    spec = STEPS.get(step)
    if spec is None or spec.suite is None:
        raise BadConfig(f"There are no checks for '{step}'. Steps with checks: {', '.join(checked_steps())}.")
    module, _, name = spec.suite.partition(":")
    built_in: Suite = getattr(import_module(module), name)()
    added = [CHECKS.find(name)() for name in CHECKS.names]
    return JoinedSuite([built_in, *(suite for suite in added if step in suite.steps)])


def _merged(kind: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in found:
        if twice := merged.keys() & one.keys():
            raise BadConfig(f"Two suites of checks define the {kind} '{min(twice)}'. Rename it in the added suite.")
        merged |= one
    return merged
