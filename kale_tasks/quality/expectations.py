"""Runs checks: bounds on figures in Python, expectations on rows with Great Expectations."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadConfig
from kale_tasks.quality.suite import Limit
from kale_tasks.quality.verdict import Outcome

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

_COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}  # no row gets into a result


def check_figures(limits: Sequence[Limit], figures: Mapping[str, float | None]) -> list[Outcome]:
    """Compare figures with their limits; a figure of None is skipped."""
    if unknown := [limit.name for limit in limits if limit.name not in figures]:
        raise BadConfig(f"A suite of checks limits the figure '{unknown[0]}', which no query or method computes.")
    return [_compare(limit, figures[limit.name]) for limit in limits]


def _compare(limit: Limit, figure: float | None) -> Outcome:
    if figure is None:
        return Outcome(limit.name, limit.severity, "skipped", limit.says)
    low, high, seen = limit.low, limit.high, float(figure)
    good = (low is None or low <= seen) and (high is None or seen <= high)  # NaN is not good
    return Outcome(limit.name, limit.severity, "passed" if good else "failed", limit.says, seen, low, high)


def columns_of(expectations: Sequence["Expectation"]) -> list[str]:
    """Return the columns that expectations name: all that an engine has to hold."""
    names = (getattr(e, field, None) for e in expectations for field in ("column", "column_A", "column_B"))
    return list(dict.fromkeys(name for name in names if name))


def check_rows(expectations: Sequence["Expectation"], frame: Any, engine: str) -> list[Outcome]:
    """Validate a pandas or Spark data frame against expectations."""
    if not expectations:
        return []
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    sources = context.data_sources
    source: Any = sources.add_spark("rows", persist=False) if engine == "spark" else sources.add_pandas("rows")
    batch = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite(name="rows", expectations=list(expectations))
    validated = batch.get_batch({"dataframe": frame}).validate(suite, result_format=_COUNTS_ONLY)
    by_name = {_name(e): e for e in expectations}
    return [_outcome(result, by_name[_name(result.expectation_config)]) for result in validated.results]


def _name(configured: Any) -> tuple[str, str]:
    return configured.meta["name"], configured.meta["severity"]


def _outcome(result: Any, expectation: "Expectation") -> Outcome:
    name, severity = _name(expectation)
    error = _error(result.exception_info)
    seen = (result.result or {}).get("unexpected_count")
    return Outcome(
        name=name,
        severity=severity,
        status="broken" if error else "passed" if result.success else "failed",
        says=expectation.description or name,
        seen=None if seen is None else float(seen),
        high=0,
        detail=error,
    )


def _error(info: Mapping[str, Any] | None) -> str:
    # Either the info of the expectation itself, or one entry for each metric that raised.
    entries = [info or {}] if "raised_exception" in (info or {}) else list((info or {}).values())
    return next((str(e["exception_message"])[:200] for e in entries if e.get("raised_exception")), "")
