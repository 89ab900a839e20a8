"""What is said of the outcome of a task: the verdict in its log, and KALE's own metrics.

Airflow sends metrics by StatsD or OpenTelemetry if it is configured to.
"""

from collections.abc import Mapping
from typing import Any

from airflow.sdk.observability import stats


def worked(step: str, done: Mapping[str, Any]) -> None:
    """Count what the work on a chunk made and what it took."""
    tags = {"step": step}
    stats.incr("kale.rows", int(done["rows_in"]), tags=tags)
    if done["seconds"] and done["rows_in"]:
        stats.gauge("kale.rows_per_second", done["rows_in"] / done["seconds"], tags=tags)
    for direction in ("in", "out"):
        if tokens := int(done["metrics"].get(f"tokens_{direction}", 0)):
            stats.incr("kale.tokens", tokens, tags={**tags, "direction": direction})
    if cost := int(1e6 * done["metrics"].get("cost", 0)):
        stats.incr("kale.cost_microdollars", cost, tags=tags)


def checked(step: str, status: str) -> None:
    """Count the verdict of a check: passed, warned, accepted, or failed."""
    stats.incr("kale.checks", tags={"step": step, "status": status})


def committed(step: str, account: Mapping[str, Any]) -> None:
    """Count the rows of a commit."""
    tags = {"step": step}
    stats.incr("kale.rows_committed", int(account["rows"]), tags=tags)
    stats.incr("kale.rows_quarantined", int(account["quarantined"]), tags=tags)


def write_verdict(log: Any, result: Mapping[str, Any], report: str) -> None:
    """Write into the log how a check ended, what each check that failed saw and wants, and where the report is."""
    for line in result["lines"]:
        log.info("%s", line)
    log.info("The report on this key: %s", report)
