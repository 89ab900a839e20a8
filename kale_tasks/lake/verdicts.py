"""Results of the checks on committed runs, stored as small JSON files in the warehouse."""

import json
from collections.abc import Mapping
from typing import Any

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now


def check_path(table: str, key: str, fingerprint: str) -> str:
    """Path of the check result of a run, relative to the warehouse."""
    return f"checks/{table}/key={key}/{fingerprint}.json"


def accepted_path(table: str, key: str, fingerprint: str) -> str:
    """Path of a person's acceptance of a failed run: a file of its own, which repeated checks leave alone."""
    return f"checks/{table}/key={key}/{fingerprint}.accepted.json"


def read_mark(lake: Lake, path: str) -> dict[str, Any] | None:
    """Read a stored check result or acceptance, or None."""
    try:
        return dict(json.loads(lake.storage.read(path)))
    except FileNotFoundError:
        return None


def accept(lake: Lake, table: str, key: str, slice_: Mapping[str, Any], why: str) -> None:
    """Record that a person accepts the committed run although it failed its checks."""
    committed = lake.committed(table, key, slice_)
    if committed:
        text = json.dumps({"why": why, "at": utc_now()})
        lake.storage.put(accepted_path(table, key, committed.fingerprint), text.encode())


def carry(lake: Lake, table: str, key: str, old: str, new: str) -> None:
    """Copy the check result and the acceptance of a run to its new fingerprint."""
    for path in (check_path, accepted_path):
        if (mark := read_mark(lake, path(table, key, old))) is not None:
            named = {**mark, "fingerprint": new} if "fingerprint" in mark else mark
            lake.storage.put(path(table, key, new), json.dumps(named, ensure_ascii=False).encode())


def failed_check(lake: Lake, table: str, key: str, slice_: Mapping[str, Any] | None = None) -> str | None:
    """Say why no later step may read the committed rows, and what to do; None if it may.

    Without a slice, every slice of the key must have passed its checks or be accepted.
    """
    for partition, committed in lake.partitions(table).items():
        if partition.key != key or not partition.within(slice_ or {}):
            continue
        result = read_mark(lake, check_path(table, key, committed.fingerprint))
        if not result or result["status"] != "failed":
            continue
        if read_mark(lake, accepted_path(table, key, committed.fingerprint)) is None:
            step = result["step"]
            return (
                f"{partition} failed its checks: {', '.join(result['failed'])}. Run {step} again, or accept the rows: "
                f'`kale check {step} --key {key} --accept "reason"`.'
            )
    return None


def require_passed(lake: Lake, table: str, key: str, slice_: Mapping[str, Any] | None = None) -> None:
    """Raise BadData if committed rows failed their checks and nobody accepted them."""
    if why := failed_check(lake, table, key, slice_):
        raise BadData(why)
