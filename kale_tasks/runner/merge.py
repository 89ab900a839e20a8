"""Merges the parts of a run, before it is sealed, into files that readers need few of.

The rows stay in the order of the parts. Which parts share a file follows from their sizes and bytes alone, so that
whoever merges them again writes the same files under the same names.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.lake.parts import LargeFile, PartFile, PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage
from kale_tasks.runner.receipts import Receipt
from kale_tasks.runner.writer import conform
from kale_tasks.threads import map_ahead

LEAST_BYTES = 64 << 20  # of a file, if there are enough rows
_THREADS = 32


class DamagedParts(Exception):
    """Parts are missing, or are not as they were written."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__(numbers)
        self.numbers = numbers


def merge(storage: Storage, folder: str, table: str, found: Sequence[Receipt]) -> list[PartFile]:
    """Return the files that hold the rows of a table. A part that is large enough or has no neighbour stays as it is.

    Raises DamagedParts. `found` are the receipts of all parts, in order.
    """
    files: list[PartFile] = []
    parts = [receipt for receipt in found if table in receipt.files]
    for is_large, group in groupby(parts, lambda receipt: receipt.files[table].bytes >= LEAST_BYTES):
        some = list(group)
        as_they_are = is_large or len(some) == 1
        files += [part.files[table] for part in some] if as_they_are else _Merge(storage, table, some).files(folder)
    return files


class _Merge:
    """Merges neighbouring parts of a table."""

    def __init__(self, storage: Storage, table: str, parts: Sequence[Receipt]) -> None:
        self._storage, self._table, self._parts = storage, table, parts
        self._left = sum(part.files[table].bytes for part in parts)

    def files(self, folder: str) -> Iterator[PartFile]:
        """Write the files one after the other."""
        parts = zip(self._parts, map_ahead(self._rows, self._parts, self._threads), strict=True)
        while self._left:
            with LargeFile(TABLES[self._table].arrow) as file:
                members = []
                for part, rows in parts:
                    file.add(rows)
                    members.append(part.meta)
                    self._left -= part.files[self._table].bytes
                    # What is left must make a file of its own, or it goes into this one.
                    if file.bytes >= LEAST_BYTES <= self._left:
                        break
                yield file.put(self._storage, folder, _sum(members, file.rows))

    @property
    def _threads(self) -> int:
        """The number of parts that are read ahead: those of about one file."""
        return max(1, min(_THREADS, LEAST_BYTES // max(part.files[self._table].bytes for part in self._parts)))

    def _rows(self, part: Receipt) -> pa.Table:
        known = part.files[self._table]
        try:
            data = self._storage.read(known.path)
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != known.sha256:
            raise DamagedParts([part.meta.number])
        return conform(self._table, pq.ParquetFile(pa.BufferReader(data)).read())


def _sum(parts: Sequence[PartMeta], kept: int) -> PartMeta:
    """Return the account of some parts together."""
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    return PartMeta(
        parts[0].fingerprint,
        parts[0].number,
        rows_in=sum(part.rows_in for part in parts),
        kept=kept,
        dropped=dict(sorted(dropped.items())),
        quarantined=sum(part.quarantined for part in parts),
    )
