"""Suites of checks: what is read, derived, expected and bounded for the rows of a step. Other packages can add some."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.registry import StepSpec, checked_steps, step_spec
from kale_tasks.errors import BadConfig
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import CLEARED, comparison_set, read_acceptance, read_verdict
from kale_tasks.quality.suite_files import SuiteFile, name_checks, read_suites
from kale_tasks.registry import Registry
from kale_tasks.runner.run import unpinned
from kale_tasks.runner.seal import SealedRun, read_committed
from kale_tasks.runner.verbs import read_plan
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings
from kale_tasks.settings.quality import Limits

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Limit:
    """A check on one figure of a key: it must not be below `low` nor above `high`. Without bounds it is skipped."""

    name: str  # of the check, and of the figure if `figure` does not name it
    severity: str  # critical or warning
    says: str
    low: float | None = None
    high: float | None = None
    figure: str = ""
    note: str = ""  # what the figure means, or why there is nothing to compare with
    history: Mapping[str, float] = field(default_factory=dict)  # the figure by earlier key: the bounds come from it


class Suite:
    """Checks on the rows that a step makes.

    A subclass overrides what it needs. All suites of a step run together: they read the rows once.
    """

    name: str = "kale"  # of the suite in Great Expectations
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

    def failing(self) -> list[str]:
        """Return SQL queries for the rows that a figure counts: `uid` and `figure`, its name. They run on DuckDB."""
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

    def expectation_suites(self) -> dict[str, list["Expectation"]]:
        """Return the expectations of each suite that has some, by the name of the suite."""
        found: dict[str, list[Expectation]] = {}
        for suite in self.suites:
            found.setdefault(suite.name, []).extend(name_checks(suite.name, suite.expectations()))
        return {name: expectations for name, expectations in found.items() if expectations}

    def failing(self) -> list[str]:
        return [query for suite in self.suites for query in suite.failing()]

    def queries(self) -> list[str]:
        return [query for suite in self.suites for query in suite.queries()]

    def figures(self, subject: "Subject", figures: Figures, lengths: Sequence[int]) -> Figures:
        return _merged("figure", [suite.figures(subject, figures, lengths) for suite in self.suites])

    def limits(self, subject: "Subject") -> list[Limit]:
        return [limit for suite in self.suites for limit in suite.limits(subject)]


class FileSuite(Suite):
    """A suite of Great Expectations that a user keeps as a file."""

    def __init__(self, file: SuiteFile) -> None:
        self.name, self.columns, self._expectations = file.name, file.columns, file.expectations  # type: ignore[misc]

    def expectations(self) -> list["Expectation"]:
        return list(self._expectations)


@dataclass(frozen=True)
class Subject:
    """The rows of one run, sealed or committed, that a suite checks."""

    lake: Lake
    settings: Settings
    spec: StepSpec
    suite: JoinedSuite
    rows: Snapshot
    compared: Mapping[str, str]  # partitions to compare with, by name, and the seal id of each
    inputs: Mapping[str, Snapshot]  # by name, as the run read them, whatever is committed since
    config: Mapping[str, Any]  # settings of the run

    @classmethod
    def of_sealed(cls, lake: Lake, settings: Settings, run: SealedRun) -> "Subject":
        """The rows of a run that is not committed yet."""
        spec = sealed_spec(run)
        rows = run.snapshot(lake.storage, spec.partition(run.key))
        suite, inputs = find_suite(run.step, run.suite, settings), _inputs(lake, run.folder)
        return cls(lake, settings, spec, suite, rows, run.compared, inputs, run.config)

    @classmethod
    def of_committed(cls, lake: Lake, settings: Settings, step: str, key: str) -> "Subject":
        """The committed rows of a step and key; raises Conflict if there are none."""
        find_suite(step)  # raises for a step without checks
        spec = step_spec(step, settings.caption.recipe)
        rows = Snapshot.open(lake, spec.partition(key))
        sealed = read_committed(lake.storage, spec.table, key, rows.committed)
        suite = find_suite(step, sealed.suite if sealed else None, settings)
        verdict = read_verdict(lake.storage, rows.committed.seal_id)
        compared = verdict["compared"] if verdict else comparison_set(lake, rows.partition, settings.quality.drift.keys)
        folder = run_folder(spec.table, key, rows.committed.fingerprint)
        config = sealed.config if sealed else {}
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
    def baseline(self) -> str:
        """The hash of the recipe and the settings that made the rows. Lists change often and are data: left out."""
        known = {name: value for name, value in self.config.items() if name != "list_contents"}
        return short_sha256(json.dumps(known, sort_keys=True, default=str)) if known else ""

    @property
    def limit(self) -> Limits:
        """The configured thresholds."""
        return self.settings.quality.limits

    def earlier(self, slice_: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the check results that rows of a slice are compared with, the latest first.

        Results of runs that failed and were not accepted are left out. By default those of its own slice, of runs with
        the same recipe and settings: after a change, a new baseline begins.
        """
        wanted = self.spec.slice if slice_ is None else slice_
        for name, seal_id in sorted(self.compared.items(), reverse=True):
            if Partition.parse(self.spec.table, name).within(wanted):
                found = read_verdict(self.lake.storage, seal_id)
                if found is None or (slice_ is None and found.get("baseline") != self.baseline):
                    continue
                if found["status"] in CLEARED or read_acceptance(self.lake.storage, seal_id):
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


def find_suite(step: str, built_in_suite: str | None = None, settings: Settings | None = None) -> JoinedSuite:
    """Join all suites of a step: the built-in one, those of other packages, and the files of `quality.suites`.

    Raises BadConfig if there is none. Passes are checked by what they ask: the built-in suite is the one with which
    the run was sealed.
    """
    spec = step_spec(step)
    if spec.suite is None:
        raise BadConfig(f"There are no checks for '{step}'. Steps with checks: {', '.join(checked_steps())}.")
    module, _, name = (built_in_suite or spec.suite).partition(":")
    built_in: Suite = getattr(import_module(module), name)()
    suites = [built_in, *(suite for suite in map(_added, CHECKS.names) if spec.label in suite.steps)]
    files = read_suites(settings, spec.table, _derived(suites, spec.table)) if settings else []
    return JoinedSuite([*suites, *map(FileSuite, files)])


def _added(name: str) -> Suite:
    suite = CHECKS.find(name)()
    suite.name = name
    return suite


def _derived(suites: Sequence[Suite], table: str) -> list[str]:
    """Return the names of the columns that suites derive, by deriving them from no rows."""
    joined = JoinedSuite(suites)
    return list(joined.features(TABLES[table].selected(joined.columns).empty_table()))


def _merged(kind: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in found:
        if twice := merged.keys() & one.keys():
            raise BadConfig(f"Two suites of checks define the {kind} '{min(twice)}'. Rename it in the added suite.")
        merged |= one
    return merged
