"""Vectors as they are stored and compared: in whole steps of 1/2048.

The cosine of two such vectors is a sum of whole numbers below 2**24, which float32 adds without rounding, in whatever
order: DuckDB and Spark, one thread or many, blocks of any size find the same copies and clusters. The steps change a
cosine by about 0.0002, and Parquet stores a number in about seven bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.errors import BadData
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.parts import read_columns
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.base import Storage

STEPS = 2048  # in a length of 1
Floats = npt.NDArray[np.float32]
_BLOCK_ROWS = 8192
_SCHEMA = TABLES["texts"].selected(["vector"])


def in_steps(vectors: Floats) -> Floats:
    """Round vectors of length 1 to whole steps."""
    return np.asarray(np.round(vectors * STEPS) / STEPS, dtype=np.float32)


def product(cosine: float) -> int:
    """The product of two vectors in steps, as `Vectors.read` returns them, that have this cosine."""
    return round(cosine * STEPS * STEPS)


@dataclass(frozen=True)
class Vectors:
    """The vectors of a committed pass, in blocks of whole files. Can be pickled, to be read on a Spark executor."""

    storage: Storage
    files: Sequence[tuple[str, int]]  # path and rows, in the order of rows
    block_rows: int = _BLOCK_ROWS

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Vectors":
        """The vectors of an opened partition of `texts`."""
        return cls(snapshot.storage, tuple((file.path, file.rows) for file in snapshot.files))

    @cached_property
    def blocks(self) -> list[list[str]]:
        """The files of each block."""
        blocks: list[list[str]] = []
        held = self.block_rows
        for path, rows in self.files:
            if held + rows > self.block_rows:
                blocks.append([])
                held = 0
            blocks[-1].append(path)
            held += rows
        return blocks

    def read(self, block: int) -> Floats:
        """Read the vectors of a block as whole numbers of steps."""
        return np.concatenate([self._read(path) for path in self.blocks[block]])

    def sample(self, wanted: "npt.NDArray[np.bool_]", count: int) -> Floats:
        """Read `count` of the wanted rows, at equal distances: rows are in the order of uids, which are hashes."""
        rows = np.flatnonzero(wanted)
        rows = rows[np.arange(min(count, len(rows))) * len(rows) // max(min(count, len(rows)), 1)]
        taken, start = [np.zeros((0, 0), np.float32)], 0
        for block in range(len(self.blocks)):
            read = self.read(block)
            taken.append(read[rows[(rows >= start) & (rows < start + len(read))] - start])
            start += len(read)
        return np.concatenate(taken[1:] or taken)

    def _read(self, path: str) -> Floats:
        with reading(path):
            column = read_columns(self.storage, path, _SCHEMA)["vector"]
        return whole(column, path)


def whole(column: pa.ChunkedArray, path: str) -> Floats:
    """The vectors of a column as whole numbers of steps, a row each; BadData if they differ in length."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if column.null_count or len(values) % max(len(column), 1):
        raise BadData(f"The vectors of {path} differ in length. Run the pass that encodes them again.")
    return np.asarray(np.round(values.reshape(len(column), -1) * STEPS), dtype=np.float32)
