"""The states of keys in steps, as `kale status` shows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kale_tasks.captions.steps import all_steps
from kale_tasks.contract.registry import StepSpec, find
from kale_tasks.contract.step import Step
from kale_tasks.errors import KaleError
from kale_tasks.lake.holds import read_hold
from kale_tasks.lake.landing import landing_keys
from kale_tasks.lake.preview import PreviewLake
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import blocked_run
from kale_tasks.runner.commit import finish_all
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings


def all_states(lake: Lake, settings: Settings) -> list[dict[str, Any]]:
    """Return the state of every key in every step of the configured recipes, key by key."""
    finish_all(lake, find("ingest"))
    specs = all_steps(settings)
    steps = [(spec, spec.load()) for spec in specs]
    keys = {*landing_keys(settings), *(key for table in {spec.table for spec in specs} for key in lake.keys(table))}
    cells = ((spec, state(lake, settings, step, key)) for key in sorted(keys) for spec, step in steps)
    found = [(spec, cell) for spec, cell in cells if spec.applies_to(cell["key"]) or cell["state"] != "missing"]
    return [{**_marked(lake, spec, cell), "step": spec.label, "recipe": spec.recipe} for spec, cell in found]


def state(lake: Lake, settings: Settings, step: Step, key: str) -> dict[str, Any]:
    """Return the state of a key in a step: missing, stale, committed or blocked."""
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


def _marked(lake: Lake, spec: StepSpec, cell: dict[str, Any]) -> dict[str, Any]:
    if isinstance(lake, PreviewLake) and lake.has(spec.partition(cell["key"])):
        return {**cell, "state": "preview"}
    return {**cell, "state": "held"} if read_hold(lake.storage, spec.partition(cell["key"])) else cell


def _age(since: timedelta) -> str:
    seconds = int(since.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
