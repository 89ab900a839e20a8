"""The states of keys in steps, as `kale status` shows them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import Lock
from typing import Any

from kale_tasks.captions.steps import all_steps
from kale_tasks.contract.registry import StepSpec, find
from kale_tasks.contract.step import Step
from kale_tasks.errors import KaleError
from kale_tasks.lake.holds import read_hold
from kale_tasks.lake.landing import landing_keys
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.preview import PreviewLake
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import blocked_run
from kale_tasks.lake.view import LakeView
from kale_tasks.runner.commit import finish_all
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings

_THREADS = 16  # a store on the network is asked for several keys at once


def all_states(lake: Lake, settings: Settings) -> list[dict[str, Any]]:
    """Finish interrupted commits, then return the state of every key in every step of the configured recipes."""
    finish_all(lake, find("ingest"))
    view = LakeView(lake)
    return states_of(view, lake, settings, all_keys(view, settings))


def all_keys(lake: Lake, settings: Settings) -> list[str]:
    """Return every key that has landed or that something is committed for, in order."""
    tables = {spec.table for spec in all_steps(settings)}
    return sorted({*landing_keys(settings), *(key for table in tables for key in lake.keys(table))})


def states_of(view: LakeView, lake: Lake, settings: Settings, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the state of keys in every step of the configured recipes, key by key. Changes nothing."""
    specs = all_steps(settings)
    tables = {spec.table for spec in specs}
    by_step = [states(view, settings, spec.load(), keys) for spec in specs]
    cells = ((spec, cell) for row in zip(*by_step, strict=True) for spec, cell in zip(specs, row, strict=True))
    found = [(spec, cell) for spec, cell in cells if spec.applies_to(cell["key"]) or cell["state"] != "missing"]
    own = {p for table in tables for p in lake.own(table)} if isinstance(lake, PreviewLake) else ()
    return [{**_marked(view, own, spec, cell), "step": spec.label, "recipe": spec.recipe} for spec, cell in found]


def states(lake: Lake, settings: Settings, step: Step, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the states of keys in a step, in their order. A view of the lake makes them cheap."""
    known, lock = cache(lambda: step.config(settings)), Lock()

    def config() -> Mapping[str, Any]:
        with lock:
            return known()

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda key: state(lake, settings, step, key, config), keys))


def state(
    lake: Lake, settings: Settings, step: Step, key: str, config: Callable[[], Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the state of a key in a step: missing, stale, committed or blocked.

    `config` returns what the step says of the settings, if that is known.
    """
    committed = lake.committed(step.table, key, step.slice)
    blocked = blocked_run(lake, step.partition(key)) if step.suite else None
    row = {"key": key, "step": step.name, "state": "missing", "rows": None, "age": None, "fingerprint": None}
    if committed is None:
        return {**row, "state": "blocked", "fingerprint": blocked.fingerprint} if blocked else row
    try:
        run = Run(step, lake, settings, key, config=config() if config else None)
        fresh = run.fingerprint == committed.fingerprint
    except KaleError:
        fresh = False  # an input no longer exists
    age = _age(datetime.now(UTC) - datetime.fromisoformat(committed.at))
    known = {"rows": committed.rows, "age": age, "fingerprint": committed.fingerprint}
    return {**row, **known, "state": "blocked" if blocked else "committed" if fresh else "stale"}


def _marked(lake: Lake, own: Collection[Partition], spec: StepSpec, cell: dict[str, Any]) -> dict[str, Any]:
    if spec.partition(cell["key"]) in own:
        return {**cell, "state": "preview"}
    return {**cell, "state": "held"} if read_hold(lake.storage, spec.partition(cell["key"])) else cell


def _age(since: timedelta) -> str:
    seconds = int(since.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
