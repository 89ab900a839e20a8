"""Holds: a person keeps a key at the run that is committed, and no other run may replace it."""

import getpass
import json
from dataclasses import asdict, dataclass

from kale_tasks.errors import BadData
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.times import utc_now

_FOLDER = "holds"


@dataclass(frozen=True)
class Hold:
    """Why a key is held, who holds it, and since when."""

    why: str
    by: str
    at: str


def hold(storage: Storage, partition: Partition, why: str) -> None:
    """Hold a partition; replaces an earlier hold."""
    found = Hold(why, getpass.getuser(), utc_now())
    storage.put(_path(partition), json.dumps(asdict(found), ensure_ascii=False).encode())


def release_hold(storage: Storage, partition: Partition) -> None:
    """End the hold of a partition, if there is one."""
    storage.delete(_path(partition))


def read_hold(storage: Storage, partition: Partition) -> Hold | None:
    """Return the hold of a partition, or None."""
    try:
        return Hold(**json.loads(storage.read(_path(partition))))
    except FileNotFoundError:
        return None


def held_partitions(storage: Storage) -> set[Partition]:
    """Return every partition that is held, from one listing."""
    paths = (entry.path.removesuffix(".json").split("/")[1:] for entry in storage.entries(_FOLDER))
    return {Partition.parse(table, name.replace(",", "/")) for table, name in paths}


def require_no_hold(storage: Storage, partition: Partition, step: str) -> None:
    """Raise BadData if a partition is held."""
    if found := read_hold(storage, partition):
        raise BadData(
            f"{partition} is held at the committed run by {found.by} since {found.at}: {found.why}. To let {step} make "
            f"it again: `kale rollback {step} --key {partition.key} --release-hold`."
        )


def _path(partition: Partition) -> str:
    return f"{_FOLDER}/{partition.table}/{partition.name.replace('/', ',')}.json"
