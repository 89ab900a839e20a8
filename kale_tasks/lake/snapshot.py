"""Snapshots: committed partitions as opened, with their exact files; the rows are numbered in uid order."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import Conflict
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.listing import DataFile, Files
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import GROUP_ROWS, RowGroup, read_columns, row_groups
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Committed, Lake

_KEPT = 2  # row groups that a snapshot keeps in memory: a part may begin in one and end in the next


@dataclass(frozen=True)
class Snapshot:
    """The rows of one committed partition. It keeps its files, whatever is committed later."""

    storage: Storage
    partition: Partition
    committed: Committed
    files: tuple[DataFile, ...]

    @classmethod
    def open(cls, lake: Lake, partition: Partition) -> "Snapshot":
        """Open what is committed; Conflict if nothing is."""
        found = lake.opened(partition)
        if found is None:
            raise Conflict(f"{partition} is not committed yet. Run the step that makes it first.")
        return cls(lake.storage, partition, *found)

    @classmethod
    def open_all(cls, lake: Lake, table: str) -> dict[Partition, "Snapshot"]:
        """Open every committed partition of a table, all from one version of it."""
        return {p: cls(lake.storage, p, committed, files) for p, (committed, files) in lake.opened_all(table).items()}

    @classmethod
    def open_at(cls, lake: Lake, table: str, snapshot_id: int) -> dict[Partition, "Snapshot"]:
        """Open every partition that a table had at an Iceberg snapshot; Conflict if that has expired."""
        found = _files_at(lake, table, snapshot_id)
        return {p: cls(lake.storage, p, _as_of(snapshot_id, files), files) for p, files in found.items()}

    @property
    def content(self) -> str:
        """The hash of its rows as they are now."""
        return self.committed.content

    @property
    def identity(self) -> str:
        """The hash of its rows as their run made them; a takedown leaves it alone."""
        return self.committed.identity or self.committed.content

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(file.rows for file in self.files)

    def read(self, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows numbered start to stop (exclusive)."""
        pieces, first = [], bisect.bisect_right(self._ends, start)
        for i in range(first, len(self.files)):
            begin = self._ends[i] - self.files[i].rows
            if begin >= stop:
                break
            for group in self._groups(self.files[i]):
                low, high = max(start - begin, 0), min(stop - begin, group.rows)
                if low < high:
                    pieces.append(self._recent(self.files[i], group, columns).slice(low, high - low))
                begin += group.rows
        return self._joined(pieces, columns)

    def between(self, first: str, last: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows whose uid lies between two uids, both included: the other side of a join."""
        names = None if columns is None else list(dict.fromkeys(["uid", *columns]))
        pieces = []
        for file in self.files:
            for group in self._groups(file) if may_have(file, first, last) else ():
                if may_have(group, first, last):
                    table = self._recent(file, group, names)
                    uid = table["uid"]
                    pieces.append(table.filter(pc.and_(pc.greater_equal(uid, first), pc.less_equal(uid, last))))
        return self._joined(pieces, names)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read all rows, one row group at a time."""
        for file in self.files:
            for group in self._groups(file):
                yield self._table(file, group, columns)

    def _groups(self, file: DataFile) -> Sequence[RowGroup]:
        """Return the row groups of a large file; a small one is read as a whole, without a look at its footer."""
        if file.rows <= GROUP_ROWS:
            return [RowGroup(None, file.rows, file.uid_min, file.uid_max)]
        if file.path not in self._known_groups:
            with reading(file.path):
                self._known_groups[file.path] = row_groups(self.storage, file.path)
        return self._known_groups[file.path]

    @cached_property
    def _known_groups(self) -> dict[str, list[RowGroup]]:
        return {}

    def _recent(self, file: DataFile, group: RowGroup, columns: Sequence[str] | None) -> pa.Table:
        """Read rows, or return them as they were read before: parts ask for neighbours, one after the other."""
        key = (file.path, group.number, *(columns or ()))
        table = self._read_lately.get(key)
        if table is None:
            table = self._table(file, group, columns)
            for old in list(self._read_lately)[: 1 - _KEPT]:
                self._read_lately.pop(old, None)
            self._read_lately[key] = table
        return table

    @cached_property
    def _read_lately(self) -> dict[tuple[str | int | None, ...], pa.Table]:
        return {}

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(file.rows for file in self.files))

    def _table(self, file: DataFile, group: RowGroup, columns: Sequence[str] | None) -> pa.Table:
        with reading(file.path):
            return read_columns(self.storage, file.path, TABLES[self.partition.table].selected(columns), group)

    def _joined(self, pieces: Sequence[pa.Table], columns: Sequence[str] | None) -> pa.Table:
        return pa.concat_tables([TABLES[self.partition.table].selected(columns).empty_table(), *pieces])


def runs_at(lake: Lake, table: str, snapshot_id: int) -> dict[Partition, str]:
    """Return the run that made each partition that a table had at an Iceberg snapshot; Conflict if that has expired."""
    return {partition: _run_of(files) for partition, files in _files_at(lake, table, snapshot_id).items()}


def _files_at(lake: Lake, table: str, snapshot_id: int) -> Files:
    try:
        return lake.files_at(table, snapshot_id)
    except ValueError as error:
        raise Conflict(f"What {table} held when this run was planned is gone since. Plan again.") from error


def _run_of(files: Sequence[DataFile]) -> str:
    return files[0].path.split("/")[2].partition("-")[0]


def _as_of(snapshot_id: int, files: Sequence[DataFile]) -> Committed:
    """Return what the files of a partition say of it; a table records the rest for its current snapshot only."""
    run = _run_of(files)
    return Committed(run, "", sum(file.rows for file in files), len(files), snapshot_id, "")


def may_have(rows: DataFile | RowGroup, first: str, last: str) -> bool:
    """Whether a file or row group may have rows between two uids, by its bounds."""
    # Bounds of files are truncated prefixes: compare with prefixes of the same length.
    return rows.uid_min <= last and rows.uid_max >= first[: len(rows.uid_max)]
