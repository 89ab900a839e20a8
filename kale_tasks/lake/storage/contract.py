"""What commits, leases and maintenance need of a store, as checks that run on any warehouse.

`kale doctor` runs them on the configured warehouse, and the tests on a folder and on a real S3.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kale_tasks.errors import KaleError
from kale_tasks.lake.storage.base import Storage

_RACERS = 16
_CLOCK_SECONDS = 60
_CONDITIONS = (
    "The store must carry out conditional writes (If-None-Match, If-Match) atomically: AWS S3, Ceph and recent MinIO "
    "do; SeaweedFS and gateways in front of other stores may not. Use a bucket without versioning or replication."
)


@dataclass(frozen=True)
class Requirement:
    """One promise of a store: `fault` tries it on files below a folder and returns what went wrong, if anything."""

    name: str
    fault: Callable[[Storage, str], str]
    advice: str


def broken_requirements(storage: Storage, folder: str) -> Iterator[tuple[Requirement, str]]:
    """Try every requirement and yield those that do not hold, with what went wrong.

    `folder` must be new; no file is left in it. Raises KaleError if nothing can be written there at all.
    """
    storage.put(f"{folder}/reachable", b"kale")
    try:
        for requirement in REQUIREMENTS:
            try:
                fault = requirement.fault(storage, f"{folder}/{requirement.name}")
            except (KaleError, OSError) as error:
                fault = str(error)
            if fault:
                yield requirement, fault
    finally:
        for entry in list(storage.entries(folder)):
            storage.delete(entry.path)


def create_fault(storage: Storage, folder: str) -> str:
    """Let several writers create one file: exactly one may succeed, and the file is its file."""
    return _race(storage, f"{folder}/file", None)


def replace_fault(storage: Storage, folder: str) -> str:
    """Let several writers replace one file: one may succeed, and none with a tag of an earlier version."""
    path = f"{folder}/file"
    storage.put(path, b"first")
    seen = storage.tag(path)
    if fault := _race(storage, path, seen):
        return fault
    before = storage.read(path)
    if storage.put_if(path, b"stale", seen) or storage.read(path) != before:
        return "a write with a stale tag replaced a newer file"
    storage.delete(path)
    if storage.put_if(path, b"stale", seen) or storage.exists(path):
        return "a write with a stale tag brought a deleted file back"
    return ""


def repeat_fault(storage: Storage, folder: str) -> str:
    """Send a conditional write twice, as a client does that has lost the first answer: both must count as success."""
    path = f"{folder}/file"
    if not (storage.put_if(path, b"first", None) and storage.put_if(path, b"first", None)):
        return "a repeated creation counted as refused"
    seen = storage.tag(path)
    if not (storage.put_if(path, b"second", seen) and storage.put_if(path, b"second", seen)):
        return "a repeated replacement counted as refused"
    return ""


def list_fault(storage: Storage, folder: str) -> str:
    """Read and list a file right after each write."""
    path = f"{folder}/below/file"
    for data in (b"first", b"second one"):
        storage.put(path, data)
        if storage.read(path) != data:
            return "a read right after a write returned other bytes"
        with storage.arrow.open_input_file(path) as file:
            if file.read() != data:
                return "a read by Arrow right after a write returned other bytes"
        if [(entry.path, entry.size) for entry in storage.entries(folder)] != [(path, len(data))]:
            return "a listing right after a write did not show the file"
    storage.delete(path)
    return "a listing right after a deletion still showed the file" if list(storage.entries(folder)) else ""


def clock_fault(storage: Storage, folder: str) -> str:
    """Compare the time of a new file with this machine's clock."""
    storage.put(f"{folder}/file", b"now")
    entry = next(storage.entries(folder), None)
    if entry is None:
        return "a new file is not listed, so its age is not known"
    off = entry.modified.timestamp() - time.time()
    return f"the store's clock is {off:+.0f} s off this machine's" if abs(off) > _CLOCK_SECONDS else ""


def missing_fault(storage: Storage, folder: str) -> str:
    """Ask for a file that does not exist: reading raises FileNotFoundError, deleting does nothing."""
    path = f"{folder}/file"
    storage.delete(path)
    if storage.tag(path) is not None:
        return "a file that does not exist has a tag"
    try:
        storage.read(path)
    except FileNotFoundError:
        return ""
    return "reading a file that does not exist raised no error"


def _race(storage: Storage, path: str, tag: str | None) -> str:
    with ThreadPoolExecutor(_RACERS) as pool:
        won = list(pool.map(lambda number: storage.put_if(path, f"writer {number}".encode(), tag), range(_RACERS)))
    if won.count(True) != 1:
        return f"{won.count(True)} of {_RACERS} simultaneous conditional writes succeeded instead of one"
    if storage.read(path) != f"writer {won.index(True)}".encode():
        return "a refused conditional write replaced the file"
    return ""


REQUIREMENTS: Sequence[Requirement] = (
    Requirement("create", create_fault, _CONDITIONS),
    Requirement("replace", replace_fault, _CONDITIONS),
    Requirement("repeat", repeat_fault, _CONDITIONS),
    Requirement(
        "list", list_fault,
        "The store must show every write at once. Turn off caches and asynchronous replication in front of it "
        "(NFS: mount with lookupcache=none), or use another store.",
    ),
    Requirement(
        "clock", clock_fault, "Set this machine's clock, or the store's: the age of files decides what is deleted."
    ),
    Requirement(
        "missing", missing_fault,
        "Give the credentials the right to list the bucket (s3:ListBucket): without it S3 reports a missing file as a "
        "forbidden one.",
    ),
)  # fmt: skip
