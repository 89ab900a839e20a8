"""Words in which the suites are written, and what holds for every table of a key."""

from typing import Any, Literal

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

Severity = Literal["critical", "warning"]


def expect(name: str, says: str, kind: type[Expectation], severity: Severity = "critical", **what: Any) -> Expectation:
    """One expectation on rows, with its name and severity in `meta`."""
    meta = {"name": name, "severity": severity}
    return kind(meta=meta, severity=FailureSeverity(severity), description=says, **what)


def named() -> list[Expectation]:
    """Every row has a name of its own."""
    return [
        *there("uid"),
        form("uid", r"^[0-9a-f]{32}$", "A uid is 32 hex digits"),
        expect("uid_unique", "No uid stands twice", gxe.ExpectColumnValuesToBeUnique, column="uid"),
    ]


def there(*columns: str, severity: Severity = "critical") -> list[Expectation]:
    """No row lacks these columns."""
    return [
        expect(f"{column}_there", f"Every row has {column}", gxe.ExpectColumnValuesToNotBeNull, severity, column=column)
        for column in columns
    ]


def never(**columns: str) -> list[Expectation]:
    """Derived columns that must be false in every row, with what a true one would mean."""
    return [
        expect(f"{column}_never", says, gxe.ExpectColumnValuesToBeInSet, column=column, value_set=[False])
        for column, says in columns.items()
    ]


def one_of(column: str, *values: Any) -> Expectation:
    """A column of few known values."""
    says = f"{column} is {' or '.join(map(str, values))}"
    return expect(f"{column}_known", says, gxe.ExpectColumnValuesToBeInSet, column=column, value_set=list(values))


def between(column: str, low: float, high: float | None = None, severity: Severity = "critical") -> Expectation:
    """A number within bounds, where there is one."""
    says = f"{column} is at least {low:g}" + ("" if high is None else f" and at most {high:g}")
    kind = gxe.ExpectColumnValuesToBeBetween
    return expect(f"{column}_range", says, kind, severity, column=column, min_value=low, max_value=high)


def form(column: str, regex: str, says: str, severity: Severity = "critical") -> Expectation:
    """A text of one form, where there is one."""
    kind = gxe.ExpectColumnValuesToMatchRegex
    return expect(f"{column}_form", says, kind, severity, column=column, regex=regex)
