"""Suites of checks: what is read, derived, expected and bounded for the rows of a step. Other packages can add some."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.registry import StepSpec, checked_steps, step_spec
from kale_tasks.errors import BadConfig
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import CLEARED, comparison_set, read_acceptance, read_verdict
from kale_tasks.registry import Registry
from kale_tasks.runner.run import unpinned
from kale_tasks.runner.seal import SealedRun, read_committed
from kale_tasks.runner.verbs import read_plan
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings
from kale_tasks.settings.quality import Limits

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation


class _Deferred(MetaPathFinder):
    """Imports on first use what Great Expectations imports for expectations on distributions.

    That is a fifth of the time that it takes to import it, and few suites have such an expectation.
    """

    _NAMES = ("altair", "scipy.stats")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in self._NAMES else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


sys.meta_path.insert(0, _Deferred())
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
    """Checks on the rows that a step makes.

    A subclass overrides what it needs. All suites of a step run together: they read the rows once.
    """

    steps: ClassVar[Sequence[str]] = ()  # for suites of other packages: the steps whose rows they check
    columns: ClassVar[Sequence[str]] = ()  # columns of the step's table that it reads
    tables: ClassVar[Mapping[str, Sequence[str]]] = {}  # other tables that its queries read, and their columns
    inputs: ClassVar[Sequence[str]] = ()  # tables that a run must name as its inputs
    text: ClassVar[bool] = False  # derives `words`, whose distribution is compared with that of earlier keys
    one_each: ClassVar[bool] = True  # a row of the input gives one row at most

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
        self.one_each = all(suite.one_each for suite in suites)  # type: ignore[misc]

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
    """The rows of one run, sealed or committed, that a suite checks."""

    lake: Lake
    settings: Settings
    spec: StepSpec
    suite: Suite
    rows: Snapshot
    compared: Mapping[str, str]  # partitions to compare with, by name, and the seal id of each
    inputs: Mapping[str, Snapshot]  # by name, as the run read them, whatever is committed since
    config: Mapping[str, Any]  # settings of the run

    @classmethod
    def of_sealed(cls, lake: Lake, settings: Settings, run: SealedRun) -> "Subject":
        """The rows of a run that is not committed yet."""
        spec = sealed_spec(run)
        rows = run.snapshot(lake.storage, spec.partition(run.key))
        suite, inputs = find_suite(run.step, run.suite), _inputs(lake, run.folder)
        return cls(lake, settings, spec, suite, rows, run.compared, inputs, run.config)

    @classmethod
    def of_committed(cls, lake: Lake, settings: Settings, step: str, key: str) -> "Subject":
        """The committed rows of a step and key; raises Conflict if there are none."""
        find_suite(step)  # raises for a step without checks
        spec = step_spec(step, settings.caption.recipe)
        rows = Snapshot.open(lake, spec.partition(key))
        sealed = read_committed(lake.storage, spec.table, key, rows.committed)
        suite = find_suite(step, sealed.suite if sealed else None)
        verdict = read_verdict(lake.storage, rows.committed.seal_id)
        compared = verdict["compared"] if verdict else comparison_set(lake, rows.partition, settings.quality.drift.keys)
        folder = run_folder(spec.table, key, rows.committed.fingerprint)
        made = read_committed(lake.storage, spec.table, key, rows.committed)
        config = made.config if made else {}
        return cls(lake, settings, spec, suite, rows, compared, _inputs(lake, folder), config)

    @property
    def key(self) -> str:
        """The key of the rows."""
        return self.rows.partition.key

    @property
    def committed(self) -> Committed:
        """The account of the run."""
        return self.rows.committed

    def table(self, name: str) -> list[Snapshot]:
        """Open the partitions of a table that a suite reads: those that the run read, or else the committed ones."""
        if pinned := [found for found in self.inputs.values() if found.partition.table == name]:
            return pinned
        committed = [one for one in self.lake.partitions(name) if one.key == self.key]
        return [Snapshot(self.lake.storage, one, *found) for one in committed if (found := self.lake.opened(one))]

    @property
    def limit(self) -> Limits:
        """The configured thresholds."""
        return self.settings.quality.limits

    def earlier(self, slice_: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the check results that rows of a slice are compared with, the latest first; by default of its own.

        Results of runs that failed and were not accepted are left out.
        """
        wanted = self.spec.slice if slice_ is None else slice_
        for name, seal_id in sorted(self.compared.items(), reverse=True):
            if Partition.parse(self.spec.table, name).within(wanted):
                found = read_verdict(self.lake.storage, seal_id)
                if found and (found["status"] in CLEARED or read_acceptance(self.lake.storage, seal_id)):
                    yield found


def _inputs(lake: Lake, folder: str) -> Mapping[str, Snapshot]:
    plan = read_plan(lake, folder)
    pins = unpinned(lake, plan.pins) if plan else {}
    # A takedown rewrites files, and deletes those of runs that read them after a while.
    return {n: s for n, s in pins.items() if all("://" in f.path or lake.storage.exists(f.path) for f in s.files)}


def sealed_spec(run: SealedRun) -> StepSpec:
    """The step of a sealed run, of the recipe that it belongs to."""
    return step_spec(run.step, str(run.slice.get("recipe", "")))


CHECKS: Registry[type[Suite]] = Registry("suite of checks", "kale.checks", {})  # those of other packages


def find_suite(step: str, built_in_suite: str | None = None) -> Suite:
    """Join all suites of a step, the built-in one first. Raises BadConfig if there is none.

    Passes are checked by what they ask: the built-in suite is the one with which the run was sealed.
    """
    spec = step_spec(step)
    if spec.suite is None:
        raise BadConfig(f"There are no checks for '{step}'. Steps with checks: {', '.join(checked_steps())}.")
    module, _, name = (built_in_suite or spec.suite).partition(":")
    built_in: Suite = getattr(import_module(module), name)()
    added = [CHECKS.find(name)() for name in CHECKS.names]
    return JoinedSuite([built_in, *(suite for suite in added if spec.label in suite.steps)])


def _merged(kind: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in found:
        if twice := merged.keys() & one.keys():
            raise BadConfig(f"Two suites of checks define the {kind} '{min(twice)}'. Rename it in the added suite.")
        merged |= one
    return merged
