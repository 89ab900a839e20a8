"""Runs expectations with Great Expectations and reads its answers as plain outcomes."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from kale_tasks.quality.suite import Limit
from kale_tasks.quality.verdict import Outcome

_BARE = {"result_format": "BASIC", "partial_unexpected_count": 0}  # counts only: no row leaves the batch


def on_rows(expectations: Sequence[Expectation], frame: Any, engine: str) -> list[Outcome]:
    """Outcomes of expectations on rows."""
    return [_outcome(result, e) for result, e in _results(expectations, frame, engine)]


def on_figures(limits: Sequence[Limit], figures: Mapping[str, float | None]) -> list[Outcome]:
    """Outcomes of bounds on figures; a figure that there is nothing to compute from is skipped."""
    known = [limit for limit in limits if figures[limit.name] is not None]
    frame = pd.DataFrame([{name: float(value) for name, value in figures.items() if value is not None}])
    outcomes = [_outcome(result, e) for result, e in _results([_bound(limit) for limit in known], frame, "pandas")]
    skipped = [Outcome(one.name, one.severity, "skipped", one.says) for one in limits if figures[one.name] is None]
    return outcomes + skipped


def columns_of(expectations: Sequence[Expectation]) -> list[str]:
    """The columns that expectations name: all that an engine has to hold."""
    names = (getattr(e, field, None) for e in expectations for field in ("column", "column_A", "column_B"))
    return list(dict.fromkeys(name for name in names if name))


def _results(expectations: Sequence[Expectation], frame: Any, engine: str) -> list[tuple[Any, Expectation]]:
    if not expectations:
        return []
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    sources = context.data_sources
    source: Any = sources.add_spark("rows", persist=False) if engine == "spark" else sources.add_pandas("rows")
    batch = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite(name="rows", expectations=list(expectations))
    answer = batch.get_batch({"dataframe": frame}).validate(suite, result_format=_BARE)
    by_name = {_name(e): e for e in expectations}
    return [(result, by_name[_name(result.expectation_config)]) for result in answer.results]


def _name(configured: Any) -> tuple[str, str]:
    return configured.meta["name"], configured.meta["severity"]


def _bound(limit: Limit) -> Expectation:
    # A frame of one row: its largest value is the figure.
    return gxe.ExpectColumnMaxToBeBetween(
        meta={"name": limit.name, "severity": limit.severity},
        severity=FailureSeverity(limit.severity),
        description=limit.says,
        column=limit.name,
        min_value=limit.low,
        max_value=limit.high,
    )


def _outcome(result: Any, expectation: Expectation) -> Outcome:
    name, severity = _name(expectation)
    raised = _raised(result.exception_info)
    status = "broken" if raised else "passed" if result.success else "failed"
    found = result.result or {}
    low: Any = None
    high: Any = 0
    seen = found.get("unexpected_count")
    if isinstance(expectation, gxe.ExpectColumnMaxToBeBetween):
        low, high, seen = expectation.min_value, expectation.max_value, found.get("observed_value")
    return Outcome(
        name=name,
        severity=severity,
        status=status,
        says=expectation.description or name,
        seen=None if seen is None else float(seen),
        low=low,
        high=high,
        detail=raised,
    )


def _raised(info: Mapping[str, Any] | None) -> str:
    # Either the info of the expectation itself, or one entry for each metric that could not be computed.
    entries = [info or {}] if "raised_exception" in (info or {}) else list((info or {}).values())
    return next((str(e["exception_message"])[:200] for e in entries if e.get("raised_exception")), "")
