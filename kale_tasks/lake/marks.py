"""Marks: requests to make a partition again although its own settings and inputs are unchanged."""

import json
from dataclasses import asdict, dataclass

from kale_tasks.lake.partition import Partition
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now

_FOLDER = "marks"


@dataclass(frozen=True)
class Mark:
    """A request to make a partition again. Its name is part of the fingerprint of the run that answers it."""

    name: str  # never used twice for the same partition, so that a mark that was answered cannot count again
    why: str
    at: str


def put_mark(storage: Storage, partition: Partition, name: str, why: str) -> None:
    """Mark a partition as stale. A mark of this name that exists already is left alone."""
    text = json.dumps(asdict(Mark(name, why, utc_now())), ensure_ascii=False, indent=1)
    storage.put_if(f"{_place(partition)}/{name}.json", text.encode(), None)


def marks(storage: Storage, partition: Partition) -> list[Mark]:
    """Return the marks of a partition by name, answered ones that nobody has deleted yet included."""
    paths = sorted(entry.path for entry in storage.entries(_place(partition)))
    found = (_read(storage, path) for path in paths)
    return [mark for mark in found if mark is not None]


def unanswered_marks(lake: Lake, table: str) -> dict[Partition, list[Mark]]:
    """Return the marks of every partition of a table that its committed run has not answered, from one listing."""
    committed = lake.partitions(table)
    folders = {entry.path.split("/")[2] for entry in lake.storage.entries(f"{_FOLDER}/{table}")}
    found = {}
    for partition in (Partition.parse(table, name.replace(",", "/")) for name in sorted(folders)):
        answered = committed[partition].because if partition in committed else ()
        if left := [mark for mark in marks(lake.storage, partition) if mark.name not in answered]:
            found[partition] = left
    return found


def delete_mark(storage: Storage, partition: Partition, name: str) -> None:
    """Delete a mark that a committed run has answered."""
    storage.delete(f"{_place(partition)}/{name}.json")


def _read(storage: Storage, path: str) -> Mark | None:
    try:
        return Mark(**json.loads(storage.read(path)))
    except FileNotFoundError:  # answered and deleted since it was listed
        return None


def _place(partition: Partition) -> str:
    return f"{_FOLDER}/{partition.table}/{partition.name.replace('/', ',')}"
