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


def verdict_lines(result: Mapping[str, Any]) -> list[str]:
    """Say how a check ended: how many checks passed, and of each that failed what was seen and what is wanted."""
    found = result["checks"]
    numbers = {status: sum(one["status"] == status for one in found) for status in ("passed", "failed", "skipped")}
    counted = ", ".join(f"{number} {status}" for status, number in numbers.items() if number)
    lines = [f"{result['table']} {result['partition']} {result['status']}: {counted}"]
    for one in found:
        if one["status"] == "failed":
            wanted = [f"{word} {one[bound]:g}" for word, bound in (("at least", "low"), ("at most", "high"))
                      if one[bound] is not None]  # fmt: skip
            seen = "" if one["seen"] is None else f" saw {one['seen']:g}, wanted {' and '.join(wanted)};"
            lines.append(f"{one['severity']}: {one['name']}:{seen} {one['says']}")
    if result["accepted"]:
        lines.append(f"accepted: {result['accepted']['why']}")
    return lines
