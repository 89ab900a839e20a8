"""Lists the files of a table from its manifests. These never change, so each is read once by a process."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock
from typing import Any

from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.visitors import inclusive_projection, manifest_evaluator
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.utils.concurrent import ExecutorFactory

from kale_tasks.lake.partition import Partition, partition_filter
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage

_MOST = 1 << 16  # files whose description a process keeps, under 1 kB of each


@dataclass(frozen=True)
class DataFile:
    """A file of a table: its path below the warehouse (or full address if adopted) and its rows."""

    path: str
    rows: int
    uid_min: str
    uid_max: str


Files = Mapping[Partition, tuple[DataFile, ...]]  # in row order
_Listed = tuple[tuple[Partition, DataFile], ...]
_known: OrderedDict[tuple[str, str], _Listed] = OrderedDict()  # by the root of a storage and the address of a manifest
_lock = Lock()


def list_files(
    storage: Storage,
    table: Table,
    name: str,
    snapshot: Snapshot | None,
    key: str | None = None,
    slice_: Mapping[str, Any] | None = None,
) -> Files:
    """The files of a snapshot by partition: of all partitions, or of those of a key, or with these values."""
    found: dict[Partition, list[DataFile]] = {}
    of = Partition.parse(name, Partition.of(name, key or "", slice_).name).columns  # values as the table has them
    may_have = _filter(table, partition_filter(key, of))
    manifests = [manifest for manifest in snapshot.manifests(table.io) if may_have(manifest)] if snapshot else []
    for listed in ExecutorFactory.get_or_create().map(partial(_list, storage, table, name), manifests):
        for partition, file in listed:
            if (key is None or partition.key == key) and (not of or partition.within(of)):
                found.setdefault(partition, []).append(file)
    return {partition: tuple(sorted(files, key=row_order)) for partition, files in found.items()}


def described(storage: Storage, file: IcebergFile, uid: int) -> DataFile:
    """What the lake says of a file; `uid` is the number of that field, or -1."""
    lower, upper = ((bounds or {}).get(uid, b"") for bounds in (file.lower_bounds, file.upper_bounds))
    path = file.file_path
    with suppress(ValueError):  # adopted from elsewhere
        path = storage.relative(path)
    return DataFile(path, file.record_count, lower.decode(), upper.decode())


def uid_field(table: Table) -> int:
    """The number of the field `uid`; -1 if a table has none."""
    return table.schema().find_field("uid").field_id if "uid" in table.schema().column_names else -1


def row_order(file: DataFile) -> tuple[int, str, str]:
    """Return the sort key that puts the files of a partition in row order."""
    # Parts are numbered in row order, and a takedown writes rewritten parts to another folder.
    name = file.path.rpartition("/")[2]
    return len(name), name, file.path


def _filter(table: Table, rows: BooleanExpression) -> Callable[[ManifestFile], bool]:
    """Tell by the bounds of a manifest whether it may list files of some partitions."""
    schema, specs = table.schema(), table.specs()

    @cache
    def evaluate(spec: int) -> Callable[[ManifestFile], bool]:
        return manifest_evaluator(specs[spec], schema, inclusive_projection(schema, specs[spec])(rows))

    return lambda manifest: manifest.content == ManifestContent.DATA and evaluate(manifest.partition_spec_id)(manifest)


def _list(storage: Storage, table: Table, name: str, manifest: ManifestFile) -> _Listed:
    place = storage.root, manifest.manifest_path
    with _lock:
        if place in _known:
            _known.move_to_end(place)
            return _known[place]
    listed = _read(storage, table, name, manifest)
    with _lock:
        _known[place] = listed
        while sum(map(len, _known.values())) > _MOST and len(_known) > 1:
            _known.popitem(last=False)
    return listed


def _read(storage: Storage, table: Table, name: str, manifest: ManifestFile) -> _Listed:
    columns, uid = TABLES[name].partition, uid_field(table)
    listed = []
    for entry in manifest.fetch_manifest_entry(table.io):
        key, *values = (entry.data_file.partition[i] for i in range(len(columns)))
        place = Partition(name, key, tuple(zip(columns[1:], values, strict=True)))
        if entry.data_file.record_count:
            listed.append((place, described(storage, entry.data_file, uid)))
    return tuple(listed)
