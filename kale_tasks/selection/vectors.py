"""Vectors as they are stored and compared: in whole steps of 1/2048.

The cosine of two such vectors is a sum of whole numbers below 2**24, which float32 adds without rounding, in whatever
order: DuckDB and Spark, one thread or many, blocks of any size find the same copies and clusters. The steps change a
cosine by about 0.0002, and Parquet stores a number in about seven bits.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.errors import BadData
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.parts import GROUP_ROWS, RowGroup, read_columns, row_groups
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.base import Storage

STEPS = 2048  # in a length of 1
Floats = npt.NDArray[np.float32]
_SCHEMA = TABLES["texts"].selected(["vector"])
Piece = tuple[str, RowGroup]  # a file and the row group of it that is read at once


def in_steps(vectors: Floats) -> Floats:
    """Round vectors of length 1 to whole steps."""
    return np.asarray(np.round(vectors * STEPS) / STEPS, dtype=np.float32)


def product(cosine: float) -> int:
    """The product of two vectors in steps, as `Vectors.read` returns them, that have this cosine."""
    return round(cosine * STEPS * STEPS)


@dataclass(frozen=True)
class Vectors:
    """The vectors of a committed pass, in blocks of row groups. Can be pickled, to be read on a Spark executor."""

    storage: Storage
    files: Sequence[tuple[str, int]]  # path and rows, in the order of rows
    block_rows: int = GROUP_ROWS

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Vectors":
        """The vectors of an opened partition of `texts`."""
        return cls(snapshot.storage, tuple((file.path, file.rows) for file in snapshot.files))

    @cached_property
    def blocks(self) -> list[list[Piece]]:
        """The pieces of each block: as many as have at most `block_rows`, or a larger one."""
        blocks: list[list[Piece]] = []
        held = self.block_rows
        for path, group in self._pieces():
            if held + group.rows > self.block_rows:
                blocks.append([])
                held = 0
            blocks[-1].append((path, group))
            held += group.rows
        return blocks

    def read(self, block: int) -> Floats:
        """Read the vectors of a block as whole numbers of steps."""
        pieces = self.blocks[block]
        return _filled(map(self._steps, pieces), sum(group.rows for _, group in pieces))

    def sample(self, wanted: "npt.NDArray[np.bool_]", count: int) -> Floats:
        """Read `count` of the wanted rows, at equal distances: rows are in the order of uids, which are hashes."""
        rows = np.flatnonzero(wanted)
        rows = rows[np.arange(min(count, len(rows))) * len(rows) // max(min(count, len(rows)), 1)]
        return _filled(self._taken(rows), len(rows))

    def _taken(self, rows: npt.NDArray[np.int64]) -> Iterator[Floats]:
        start = 0
        for piece in (piece for block in self.blocks for piece in block):
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + piece[1].rows)] - start
            start += piece[1].rows
            if len(here):
                yield self._steps(piece)[here]

    def _pieces(self) -> Iterator[Piece]:
        for path, rows in self.files:
            if rows > GROUP_ROWS:
                with reading(path):
                    yield from ((path, group) for group in row_groups(self.storage, path))
            elif rows:
                yield path, RowGroup(None, rows, "", "")

    def _steps(self, piece: Piece) -> Floats:
        path, group = piece
        with reading(path):
            column = read_columns(self.storage, path, _SCHEMA, group)["vector"]
        return whole(column, path)


def whole(column: pa.ChunkedArray, path: str) -> Floats:
    """The vectors of a column as whole numbers of steps, a row each; BadData if they differ in length."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if column.null_count or len(values) % max(len(column), 1):
        raise BadData(f"The vectors of {path} differ in length. Run the pass that encodes them again.")
    steps: Floats = np.multiply(values.reshape(len(column), -1), STEPS, dtype=np.float32)
    np.rint(steps, out=steps)
    return steps


def _filled(pieces: Iterable[Floats], rows: int) -> Floats:
    """Put pieces into one array, which is the only copy of all of them."""
    found, at = np.zeros((0, 0), np.float32), 0
    for piece in pieces:
        if not at:
            found = np.empty((rows, piece.shape[1]), np.float32)
        found[at : at + len(piece)] = piece
        at += len(piece)
    return found
