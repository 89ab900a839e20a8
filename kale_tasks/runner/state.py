"""The state of a key in a step, as `kale status` shows it."""

from datetime import UTC, datetime
from typing import Any

from kale_tasks.contract.step import Step
from kale_tasks.errors import KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import blocked_run
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings


def state(lake: Lake, settings: Settings, step: Step, key: str) -> dict[str, Any]:
    """One cell of the status table."""
    committed = lake.committed(step.table, key, step.slice)
    blocked = blocked_run(lake, step.partition(key)) if step.suite else None
    row = {"key": key, "step": step.name, "state": "missing", "rows": None, "age": None, "fingerprint": None}
    if committed is None:
        return {**row, "state": "blocked", "fingerprint": blocked.fingerprint} if blocked else row
    try:
        fresh = Run(step, lake, settings, key).fingerprint == committed.fingerprint
    except KaleError:
        fresh = False  # an input no longer exists
    age = _age(datetime.now(UTC) - datetime.fromisoformat(committed.at))
    known = {"rows": committed.rows, "age": age, "fingerprint": committed.fingerprint}
    return {**row, **known, "state": "blocked" if blocked else "committed" if fresh else "stale"}


def _age(since: Any) -> str:
    seconds = int(since.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
