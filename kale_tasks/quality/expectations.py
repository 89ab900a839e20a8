"""Turns figures and validation results into outcomes: bounds on figures are plain code, no expectations."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadConfig
from kale_tasks.quality.outcome import Outcome
from kale_tasks.quality.suite import Limit
from kale_tasks.quality.words import spaced

if TYPE_CHECKING:
    from great_expectations.checkpoint import CheckpointResult


def check_figures(limits: Sequence[Limit], figures: Mapping[str, float | None]) -> list[Outcome]:
    """Compare figures with their limits; a figure of None is skipped."""
    if unknown := [name for limit in limits if (name := limit.figure or limit.name) not in figures]:
        raise BadConfig(f"A suite of checks limits the figure '{unknown[0]}', which no query or method computes.")
    return [_compare(limit, figures[limit.figure or limit.name]) for limit in limits]


def _compare(limit: Limit, figure: float | None) -> Outcome:
    low, high, known = limit.low, limit.high, dict(limit.history)
    if figure is None or (low is None and high is None):
        return Outcome(limit.name, limit.severity, "skipped", limit.says, detail=limit.note, history=known)
    good = (low is None or low <= figure) and (high is None or figure <= high)  # NaN is not good
    status = "passed" if good else "failed"
    return Outcome(
        limit.name, limit.severity, status, limit.says, float(figure), low, high, detail=limit.note, history=known
    )


def row_outcomes(validated: "CheckpointResult | None") -> list[Outcome]:
    """Return the outcome of each expectation of a Checkpoint."""
    if validated is None:
        return []
    return [_outcome(suite.suite_name, one) for suite in validated.run_results.values() for one in suite.results]


def _outcome(suite: str, result: Any) -> Outcome:
    config = result.expectation_config
    name, error = config.meta["name"], result.exception_info["exception_message"] or ""
    seen, low, high = _figures(result.result, config.kwargs)
    return Outcome(
        name=name,
        severity=config.meta["severity"],
        status="broken" if error else "passed" if result.success else "failed",
        says=config.description or spaced(name),
        seen=seen,
        low=low,
        high=high,
        suite=suite,
        detail=error,
    )


def _figures(result: Mapping[str, Any], kwargs: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Return what an expectation saw, and its bounds: the rows that break it, or the figure that it looks at."""
    if (broken := result.get("unexpected_count")) is not None:
        counted = result.get("element_count", 0) - result.get("missing_count", 0)
        return float(broken), None, float(math.floor((1 - kwargs.get("mostly", 1)) * counted + 1e-9))
    bounds = (kwargs.get("min_value", kwargs.get("value")), kwargs.get("max_value", kwargs.get("value")))
    low, high = (float(b) if isinstance(b, int | float) else None for b in bounds)
    seen = result.get("observed_value")
    return (float(seen), low, high) if seen is not None else (None, None, None)
