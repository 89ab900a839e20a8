"""Reads the suites of Great Expectations that users keep as JSON files, by table.

The folder `quality.suites` has `<table>.json` or `<table>/<any name>.json`, as `ExpectationSuite.to_json_dict` and the
stores of Great Expectations write them.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import kale_tasks.quality.light_import  # noqa: F401 - before Great Expectations
from kale_tasks.contract.registry import STEPS
from kale_tasks.errors import BadConfig
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.settings.model import Settings

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

_NAME = re.compile(r"[\w -]+(\.[\w -]+)*")  # of a suite; Data Docs make a path of it
_TABLES = [*dict.fromkeys(spec.table for spec in STEPS.values() if spec.suite), "texts"]
_REFUSED = {  # by the beginning of the type
    "expect_query_": "it asks a database, and rows here are in files",
    "unexpected_rows_": "it asks a database, and rows here are in files",
    "expect_table_row_count_to_equal_other": "it asks a database, and rows here are in files",
    "expect_table_column": "the check `files_off_schema` compares the columns of every file with the table",
}


@dataclass(frozen=True)
class SuiteFile:
    """A suite of a user: its expectations, and the columns of the table that they read."""

    name: str
    expectations: Sequence["Expectation"]
    columns: Sequence[str]


def read_suites(settings: Settings, table: str, derived: Sequence[str]) -> list[SuiteFile]:
    """Read the suites of a table; `derived` are the columns that expectations may name beside those of the table.

    Raises BadConfig if the folder has no suite, or if a file cannot be used: nothing is left out silently.
    """
    folder = settings.quality.suites
    if not folder:
        return []
    storage = open_storage(folder, settings.s3)
    paths = sorted(entry.path for entry in storage.entries("") if entry.path.endswith(".json"))
    if not paths:
        raise BadConfig(f"quality.suites: {folder} has no suite. Put one into {folder}/{table}.json.")
    files = [
        _suite(f"{folder}/{path}", storage.read(path).decode("utf-8", "replace"), table, derived)
        for path in paths
        if _table_of(f"{folder}/{path}", path) == table
    ]
    names = [file.name for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadConfig(f"{folder}: two suites of {table} have the name '{twice[0]}'. Rename one.")
    return files


def columns_of(expectations: Sequence["Expectation"], columns: Sequence[str] = ()) -> list[str]:
    """Return the columns that expectations name, those of `columns` also in conditions: all that is read for them."""
    found = [name for expectation in expectations for name in _columns(expectation, columns)]
    return list(dict.fromkeys(found))


def name_checks(suite: str, expectations: Sequence["Expectation"]) -> list["Expectation"]:
    """Give each expectation that has none a name, from its suite, type and columns, and the severity of its check."""
    counts: Counter[str] = Counter()
    for one in expectations:
        kind = str(one.expectation_type).removeprefix("expect_")
        name = f"{suite}: {kind}({', '.join(_columns(one, ()))})"
        counts[name] += 1
        given = {"name": f"{name} {counts[name]}" if counts[name] > 1 else name, "severity": one.severity.value}
        one.meta = {**given, **(one.meta or {})}
    return list(expectations)


def _columns(expectation: "Expectation", columns: Sequence[str]) -> Iterator[str]:
    for field in ("column", "column_A", "column_B"):
        if name := getattr(expectation, field, None):
            yield str(name)
    yield from map(str, getattr(expectation, "column_list", None) or ())
    condition = str(getattr(expectation, "row_condition", None) or "")
    yield from (name for name in columns if re.search(rf"\b{re.escape(name)}\b", condition))


def _table_of(place: str, path: str) -> str:
    table = path.partition("/")[0].removesuffix(".json")
    if table not in _TABLES:
        near = difflib.get_close_matches(table, _TABLES, 1)
        raise BadConfig(
            f"{place} is not in the place of a suite{f' (did you mean {near[0]}?)' if near else ''}: name the file, or "
            f"the folder that it is in, after a table with checks: {', '.join(_TABLES)}."
        )
    return table


def _suite(place: str, text: str, table: str, derived: Sequence[str]) -> SuiteFile:
    found = _parsed(place, text)
    name = str(found.get("name") or found.get("expectation_suite_name") or PurePosixPath(place).stem)
    if not _NAME.fullmatch(name) or name == "kale":
        raise BadConfig(f"{place}: '{name}' cannot be the name of a suite. Use letters, digits, `_` and `-`.")
    known = [*TABLES[table].arrow.names, *derived]
    made = [_expectation(f"{place}, expectation {n}", one, known) for n, one in enumerate(found["expectations"], 1)]
    read = columns_of(made, known)
    return SuiteFile(name, made, [column for column in TABLES[table].arrow.names if column in read])


def _parsed(place: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{place} is not JSON: {error}. Write it with `suite.to_json_dict()`.") from error
    listed = found.get("expectations") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not listed:
        raise BadConfig(f"{place} has no list `expectations`. Write it with `suite.to_json_dict()`.")
    return dict(found)


def _expectation(place: str, one: Any, known: Sequence[str]) -> "Expectation":
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    if not isinstance(one, Mapping):
        raise BadConfig(f"{place} is not an object with `type` and `kwargs`.")
    kind = str(one.get("type") or one.get("expectation_type"))
    _check_kind(place, kind)
    more = {name: one[name] for name in ("meta", "notes", "severity", "description") if one.get(name)}
    try:
        made: Expectation = ExpectationConfiguration(type=kind, kwargs=one.get("kwargs") or {}, **more).to_domain_obj()
    except Exception as error:  # pydantic, marshmallow and Great Expectations raise errors of their own
        raise BadConfig(f"{place} ({kind}) cannot be used: {' '.join(str(error).split())}.") from error
    for column in _columns(made, ()):
        if column not in known:
            near = difflib.get_close_matches(column, known, 1)
            advice = f"Did you mean {near[0]}?" if near else f"Columns: {', '.join(known)}."
            raise BadConfig(f"{place} ({kind}): there is no column '{column}'. {advice}")
    for pattern in [getattr(made, "regex", None), *(getattr(made, "regex_list", None) or ())]:
        _check_pattern(f"{place} ({kind})", pattern)
    return made


def _check_kind(place: str, kind: str) -> None:
    import great_expectations.expectations  # noqa: F401 - registers its expectations
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = list_registered_expectation_implementations()
    if kind not in known:
        near = difflib.get_close_matches(kind, known, 1)
        advice = f"Did you mean {near[0]}?" if near else "Install or import the package that defines it."
        raise BadConfig(f"{place}: there is no expectation '{kind}'. {advice}")
    for beginning, why in _REFUSED.items():
        if kind.startswith(beginning):
            raise BadConfig(f"{place}: {kind} cannot be used: {why}. Remove it.")


def _check_pattern(place: str, pattern: Any) -> None:
    try:
        re.compile(pattern or "") if isinstance(pattern, str) else None
    except re.error as error:
        raise BadConfig(f"{place}: '{pattern}' is not a regular expression: {error}.") from error
