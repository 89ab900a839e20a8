"""Short names for the expectations that suites use, with a name, a severity and a sentence each."""

from typing import Any, Literal

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

Severity = Literal["critical", "warning"]


def expect(name: str, says: str, kind: type[Expectation], severity: Severity = "critical", **what: Any) -> Expectation:
    """Make an expectation on rows; its name and severity go into `meta`."""
    meta = {"name": name, "severity": severity}
    return kind(meta=meta, severity=FailureSeverity(severity), description=says, **what)


def valid_uid() -> list[Expectation]:
    """Expect uids that are complete, well-formed and unique."""
    return [
        *present("uid"),
        matches("uid", r"^[0-9a-f]{32}$", "A uid is 32 hex digits"),
        expect("uid_unique", "Every uid is unique", gxe.ExpectColumnValuesToBeUnique, column="uid"),
    ]


def present(*columns: str, severity: Severity = "critical") -> list[Expectation]:
    """Expect no null in these columns."""
    return [
        expect(f"{column}_there", f"Every row has {column}", gxe.ExpectColumnValuesToNotBeNull, severity, column=column)
        for column in columns
    ]


def never(**columns: str) -> list[Expectation]:
    """Expect boolean columns to be false in every row. A value is the sentence that is then true."""
    return [
        expect(f"{column}_never", says, gxe.ExpectColumnValuesToBeInSet, column=column, value_set=[False])
        for column, says in columns.items()
    ]


def one_of(column: str, *values: Any) -> Expectation:
    """Expect one of a few known values."""
    says = f"{column} is {' or '.join(map(str, values))}"
    return expect(f"{column}_known", says, gxe.ExpectColumnValuesToBeInSet, column=column, value_set=list(values))


def between(column: str, low: float, high: float | None = None, severity: Severity = "critical") -> Expectation:
    """Expect a number within bounds, or null."""
    says = f"{column} is at least {low:g}" + ("" if high is None else f" and at most {high:g}")
    kind = gxe.ExpectColumnValuesToBeBetween
    return expect(f"{column}_range", says, kind, severity, column=column, min_value=low, max_value=high)


def matches(column: str, regex: str, says: str, severity: Severity = "critical") -> Expectation:
    """Expect text that matches a pattern, or null."""
    kind = gxe.ExpectColumnValuesToMatchRegex
    return expect(f"{column}_form", says, kind, severity, column=column, regex=regex)
