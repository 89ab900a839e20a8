"""`kale watch`: what runs in a lake now, from the plans, receipts and leases that every process leaves there."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kale_tasks.contract.registry import STEPS, step_spec
from kale_tasks.contract.types import Plan
from kale_tasks.lake.leases import TERM_SECONDS
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.words import duration
from kale_tasks.runner.receipts import receipts
from kale_tasks.runner.verbs import read_plan

_MADE_IN = ("images", "texts", "captions", "pairs", "models", "releases")  # main tables of steps


@dataclass
class Running:
    """A run that is not committed: rows done, who works on it, and how fast."""

    step: str
    key: str
    fingerprint: str
    rows: int
    total: int
    parts: int
    all_parts: int
    workers: int
    state: str  # working, waiting (nobody holds a lease) or made (its parts are all there)
    started: datetime
    latest: datetime
    rate: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until its parts are made, at this rate; None if nothing is known."""
        return (self.total - self.rows) / self.rate if self.rate > 0 else None

    def as_row(self) -> dict[str, Any]:
        """The run as a row of a table."""
        left = self.seconds_left if self.state == "working" else None
        return {
            "step": self.step,
            "key": self.key,
            "state": self.state,
            "rows": f"{self.rows:,} of {self.total:,}" if self.total else f"{self.rows:,}",
            "parts": f"{self.parts} of {self.all_parts}",
            "workers": self.workers,
            "rows/s": round(self.rate, 1),
            "left": "" if left is None else duration(left),
        }


def running(lake: Lake, quiet_hours: float = 1.0) -> list[Running]:
    """List the runs in which something was written in the last hours and that are not committed, the oldest first."""
    entries: dict[str, list[Entry]] = {}
    for table in _MADE_IN:
        for entry in lake.storage.entries(table):
            if "/key=" in entry.path:
                entries.setdefault("/".join(entry.path.split("/")[:3]), []).append(entry)
    now = datetime.now(UTC)
    since = now - timedelta(hours=quiet_hours)
    fresh = {folder: some for folder, some in entries.items() if max(entry.modified for entry in some) > since}
    committed = {(p.table, p.key, c.fingerprint) for t in lake.tables() for p, c in lake.partitions(t).items()}
    found = []
    for folder, some in fresh.items():
        table, key, fingerprint = folder.split("/")
        plan = read_plan(lake, folder)
        if plan and not plan.committed and (table, key.removeprefix("key="), fingerprint) not in committed:
            found.append(_running(lake, folder, plan, some, now))
    return sorted(found, key=lambda one: one.started)


def follow(lake: Lake, seconds: float) -> Iterator[list[Running]]:
    """Yield what runs, again and again; rates are those since the look before."""
    before: dict[str, tuple[float, int]] = {}
    while True:
        at, found = time.monotonic(), running(lake)
        for one in found:
            known = before.get(one.fingerprint)
            if known and at > known[0] and one.rows > known[1]:
                one.rate = (one.rows - known[1]) / (at - known[0])
            else:
                before.setdefault(one.fingerprint, (at, one.rows))
        yield found
        time.sleep(seconds)


def _running(lake: Lake, folder: str, plan: Plan, entries: list[Entry], now: datetime) -> Running:
    done = receipts(lake.storage, folder)
    rows, total = sum(one.meta.rows_in for one in done.values()), sum(chunk.stop - chunk.start for chunk in plan.chunks)
    all_parts = sum(chunk.parts for chunk in plan.chunks)
    workers = sum(_is_held(lake, entry, now) for entry in entries if "/leases/" in entry.path)
    times = [entry.modified for entry in entries]
    receipted = [entry.modified for entry in entries if "/receipts/" in entry.path]
    spent = (max(receipted) - min(times)).total_seconds() if receipted else 0.0
    state = "made" if len(done) >= all_parts else "working" if workers else "waiting"
    label = plan.step if plan.step in STEPS else step_spec(plan.step).label
    return Running(
        label, plan.key, plan.fingerprint, rows, total, len(done),
        all_parts, workers, state, min(times), max(times), rows / spent if spent > 0 else 0.0,
    )  # fmt: skip


def _is_held(lake: Lake, entry: Entry, now: datetime) -> bool:
    if (now - entry.modified).total_seconds() > TERM_SECONDS:
        return False
    try:
        return bool(json.loads(lake.storage.read(entry.path))["holder"]["token"])
    except (FileNotFoundError, ValueError, KeyError):
        return False
