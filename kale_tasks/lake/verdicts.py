"""Verdicts of checks on sealed runs, acceptances by a person, and which keys are blocked; small JSON files."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.times import utc_now

CLEARED = ("passed", "warned")  # statuses of verdicts with which a run may be committed


@dataclass(frozen=True)
class BlockedRun:
    """A sealed run that failed its checks and is not committed, so that its key keeps the rows it had."""

    step: str
    table: str
    partition: str
    folder: str  # where its `run.json` is
    fingerprint: str
    seal_id: str
    base: str | None  # origin of the run that it would replace
    again: str  # name of the request to run again that it answers, if it does
    inputs: dict[str, str]
    failed: list[str]
    at: str

    @property
    def key(self) -> str:
        """The key that is blocked."""
        return self.partition.partition("/")[0]

    def explain(self) -> str:
        """Say what is wrong and what a person can do."""
        again = f" --again --request {self.again}" if self.again else ""
        recipe = next((part for part in self.partition.split("/") if part.startswith("recipe=")), "")
        of = f" --set caption.{recipe}" if recipe else ""
        return (
            f"{self.table} {self.partition} is blocked: run {self.fingerprint} of {self.step} failed its checks "
            f"({'; '.join(self.failed)}), and the key keeps the rows it had. See `kale report --key {self.key}`, and "
            f"the rows that fail with `kale check {self.step} --key {self.key}{of} --failing 100 --out failing.csv`. "
            f"Accept the run (`kale check {self.step} --key {self.key}{of} --accept REASON`, then "
            f"`kale run {self.step} --key {self.key}{again}{of}` commits it), or change its settings or inputs and "
            f"run it."
        )


def verdict_path(seal_id: str) -> str:
    """Path of the verdict on a sealed run, relative to the warehouse."""
    return f"verdicts/{seal_id}.json"


def acceptance_path(seal_id: str) -> str:
    """Path of a person's acceptance of a sealed run: a file of its own, which repeated checks leave alone."""
    return f"accepted/{seal_id}.json"


def read_verdict(storage: Storage, seal_id: str) -> dict[str, Any] | None:
    """Read the verdict on a sealed run, or None if it was not checked."""
    return _read(storage, verdict_path(seal_id)) if seal_id else None


def read_acceptance(storage: Storage, seal_id: str) -> dict[str, str] | None:
    """Read why and when a person accepted a sealed run, or None."""
    return _read(storage, acceptance_path(seal_id)) if seal_id else None


def is_cleared(storage: Storage, seal_id: str) -> bool:
    """Whether a sealed run passed its checks, or a person accepted it."""
    verdict = read_verdict(storage, seal_id)
    return bool((verdict and verdict["status"] in CLEARED) or read_acceptance(storage, seal_id))


def accept(storage: Storage, seal_id: str, why: str) -> None:
    """Record that a person accepts a sealed run although it failed its checks."""
    storage.put(acceptance_path(seal_id), json.dumps({"why": why, "at": utc_now()}, ensure_ascii=False).encode())


def require_verdict(storage: Storage, step: str, key: str, seal_id: str) -> None:
    """Raise Conflict if a sealed run was not checked, BadData if it failed its checks and nobody accepted it."""
    if is_cleared(storage, seal_id):
        return
    verdict = read_verdict(storage, seal_id)
    if verdict is None:
        raise Conflict(f"{step} {key} is sealed but not checked. Run `kale run {step} --key {key}`.")
    raise BadData(
        f"{step} {key} is not committed: its checks {verdict['status']} "
        f"({', '.join(verdict['failed'] or verdict['broken'])}). Run `kale check {step} --key {key}`."
    )


def block(storage: Storage, run: BlockedRun) -> None:
    """Mark a key as blocked."""
    storage.put(_blocked_path(run.table, run.partition), json.dumps(asdict(run)).encode())


def unblock(storage: Storage, partition: Partition) -> None:
    """Remove the mark of a key, if there is one."""
    storage.delete(_blocked_path(partition.table, partition.name))


def blocked_run(lake: Lake, partition: Partition) -> BlockedRun | None:
    """Return the run that blocks a partition, or None if there is none, it was accepted, or another was committed."""
    found = _read(lake.storage, _blocked_path(partition.table, partition.name))
    return _current(lake, partition, BlockedRun(**found)) if found else None


def blocked_runs(lake: Lake) -> dict[Partition, BlockedRun]:
    """Return all runs that block a partition, from one listing."""
    known = [BlockedRun(**json.loads(lake.storage.read(e.path))) for e in lake.storage.entries("blocked")]
    named = {Partition.parse(run.table, run.partition): run for run in known}
    return {partition: run for partition, run in named.items() if _current(lake, partition, run)}


def _current(lake: Lake, partition: Partition, run: BlockedRun) -> BlockedRun | None:
    committed = lake.committed(partition.table, partition.key, partition.columns)
    moved = (committed.origin if committed else None) != run.base
    return None if moved or read_acceptance(lake.storage, run.seal_id) else run


def comparison_set(lake: Lake, partition: Partition, keys: int) -> dict[str, str]:
    """Return the sealed runs that checks of a partition compare it with, by name: the latest keys of each slice.

    Of its own slice earlier keys only; of other slices also its own key.
    """
    return {
        other.name: committed.seal_id
        for other, committed in latest(lake, partition, keys).items()
        if committed.seal_id and (other.slice != partition.slice or other.key < partition.key)
    }


def latest(lake: Lake, partition: Partition, keys: int) -> dict[Partition, Committed]:
    """Return what is committed in a table for the latest keys up to that of a partition, the latest first.

    `keys` is the largest number of keys of each slice. One version of the table is read, and no file of any key.
    """
    found: dict[Partition, Committed] = {}
    seen: Counter[Any] = Counter()
    for other, committed in sorted(lake.partitions(partition.table).items(), key=itemgetter(0), reverse=True):
        if other.key <= partition.key and seen[other.slice] < keys:
            seen[other.slice] += 1
            found[other] = committed
    return found


def _blocked_path(table: str, partition: str) -> str:
    return f"blocked/{table}/{partition}.json"


def _read(storage: Storage, path: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(storage.read(path)))
    except FileNotFoundError:
        return None
