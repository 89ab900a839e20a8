"""Ledger lines about whole Dag runs, written when the scheduler reports their end."""

import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from kale_tasks import __version__
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake import parts
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.keys import ALL_KEYS, check_key
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.ledger import fold
from kale_tasks.runner.writer import run_folder

_TRIES = 30
_PAUSE = 0.5  # most seconds before a retry; random, so that two writers do not collide again


@dataclass(frozen=True)
class DagRun:
    """A Dag run that has ended; times in ISO 8601."""

    dag: str
    run: str
    key: str | None
    state: str
    queued_at: str
    started_at: str
    ended_at: str
    tasks: int
    tries_again: int
    clears: int
    by: str | None
    user: str | None

    @property
    def seconds(self) -> float:
        """Seconds from being queued to the end."""
        return _seconds(self.queued_at, self.ended_at)

    @property
    def seconds_queued(self) -> float:
        """Seconds in the queue."""
        return _seconds(self.queued_at, self.started_at)

    @property
    def fingerprint(self) -> str:
        """The same for each report of this end. A run that is cleared and ends again gets another one."""
        return short_sha256(json.dumps([self.dag, self.run, self.clears, self.state]))

    def __str__(self) -> str:
        who = f"{self.by or 'unknown'}{f' ({self.user})' if self.user else ''}"
        return (
            f"{self.state} after {self.seconds:.0f} s, {self.seconds_queued:.0f} of them queued; {self.tasks} tasks, "
            f"{self.tries_again} tries again; by {who}"
        )


def note(lake: Lake, run: DagRun) -> None:
    """Write the ledger line of a Dag run. Writing it twice adds one line. Raises Conflict if others keep committing."""
    key = _key(run)
    folder = run_folder("runs", key, run.fingerprint)
    rows = pa.Table.from_pylist([_line(run, key)], schema=TABLES["runs"].arrow)
    line = parts.write(lake.storage, folder, PartMeta(run.fingerprint, 0, 1, 1), rows)
    for _ in range(_TRIES):
        with suppress(Conflict):  # another scheduler committed the line of another run
            fold(lake, key, run.dag, run.fingerprint, [line.path], str(run))
            return
        time.sleep(random.uniform(0, _PAUSE))
    raise Conflict(f"{run.dag} {run.run} is missing in the ledger of {key}: {_TRIES} attempts to commit it failed.")


def _line(run: DagRun, key: str) -> dict[str, object]:
    return {
        "key": key,
        "step": run.dag,
        "fingerprint": run.fingerprint,
        "verb": "dag",
        "attempt": run.clears + 1,
        "metrics": json.dumps(
            {"seconds_queued": run.seconds_queued, "tasks": run.tasks, "tries_again": run.tries_again}
        ),
        "config": json.dumps({"run": run.run, "state": run.state, "by": run.by, "user": run.user}),
        "code": __version__,
        "seconds": run.seconds,
        "started_at": datetime.fromisoformat(run.started_at),
    }


def _key(run: DagRun) -> str:
    # A person may start a run with any text as its key. Such a run belongs to no key of the lake.
    try:
        return check_key(run.key or ALL_KEYS)
    except BadConfig:
        return ALL_KEYS


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
