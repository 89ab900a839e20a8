"""Finds rows whose vectors are as good as those of an earlier row."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.selection.vectors import STEPS, Floats, Vectors

Longs = npt.NDArray[np.int64]
NONE = -1
FOUND = pa.schema({"copy_of": pa.int64(), "evaluation": pa.bool_()})
_HEAD, _MORE = 64, 512  # dimensions in which pairs are compared first, and then if that rules too few of them out
_SLACK = STEPS * STEPS // 1000  # more than what float32 loses in a product
_ROWS = 1024  # compared at once: 32 MB of products with the 8,192 rows of a block
_DENSE = 1 / 64  # of all pairs: from here on the product of all costs less than those of single pairs
_PAIRS = 1 << 12  # 20 MB of vectors on either side


@dataclass(frozen=True)
class Basis:
    """A few directions that hold most of what vectors are, to rule pairs out at a small part of the cost.

    A product is that of the parts in these directions and at most that of the lengths of the rest. So whatever has at
    least some product, by this bound, is looked at in full, and nothing is missed.
    """

    directions: Floats

    @classmethod
    def of(cls, sample: Floats) -> "Basis":
        """The directions in which a sample is longest."""
        tiles = (sample[at : at + _ROWS].astype(np.float64) for at in range(0, len(sample), _ROWS))
        moments = sum((tile.T @ tile for tile in tiles), np.zeros((sample.shape[1], sample.shape[1])))
        return cls(np.linalg.eigh(moments)[1][:, : -_MORE - 1 : -1].astype(np.float32))

    def heads(self, vectors: Floats, count: int = _HEAD) -> Floats:
        """The parts of vectors in the first of these directions, and the length of the rest."""
        parts = vectors @ self.directions[:, :count]
        rest = _squares(vectors) - _squares(parts)
        return np.concatenate([parts, np.sqrt(np.maximum(rest, 0))[:, None]], 1)


class Block:
    """Vectors that are compared, with their parts in a few directions and in more, found when they are first needed."""

    def __init__(self, vectors: Floats, basis: Basis) -> None:
        self.vectors, self._basis = vectors, basis

    @cached_property
    def few(self) -> Floats:
        """The parts in the first directions."""
        return self._basis.heads(self.vectors)

    @cached_property
    def more(self) -> Floats:
        """The parts in all directions of the basis."""
        return self._basis.heads(self.vectors, _MORE)


@dataclass(frozen=True)
class CopySearch:
    """What a block of rows is compared with. Can be pickled."""

    vectors: Vectors
    basis: Basis
    least: int  # product from which two vectors are copies of each other
    copies: bool  # whether rows are compared with earlier rows
    evaluation: Floats  # vectors of evaluation images; none if nobody asks

    def __call__(self, block: int) -> pa.Table:
        """Return for each row of a block the number of the first row that it is a copy of, and whether it is known
        from the evaluation set."""
        rows = self._block(self.vectors.read(block))
        evaluation = np.zeros(len(rows.vectors), bool)
        if len(self.evaluation):
            evaluation = first_copies(rows, self._block(self.evaluation), self.least) != NONE
        found = np.full(len(rows.vectors), NONE)
        start = 0
        for earlier in range(block + 1 if self.copies else 0):
            others = rows if earlier == block else self._block(self.vectors.read(earlier))
            left = np.flatnonzero(found == NONE)
            here = first_copies(rows, others, self.least, left)
            found[left] = np.where(here == NONE, NONE, here + start)
            start += len(others.vectors)
        return pa.table([pa.array(found), pa.array(evaluation)], schema=FOUND)

    def _block(self, vectors: Floats) -> Block:
        return Block(vectors, self.basis)


def first_copies(rows: Block, others: Block, least: int, some: Longs | None = None) -> Longs:
    """Return for each row, or for some of them, the first of the others with at least this product, or NONE.

    Where the others are the rows themselves, only those before a row count.
    """
    some = np.arange(len(rows.vectors)) if some is None else some
    found = np.full(len(some), NONE)
    for at in range(0, len(some), _ROWS):
        here = some[at : at + _ROWS]
        possible = rows.few[here] @ others.few.T >= least - _SLACK
        if others is rows:
            possible &= np.arange(len(others.vectors)) < here[:, None]
        if _is_dense(possible) and others.vectors.shape[1] > 2 * _MORE:
            possible &= rows.more[here] @ others.more.T >= least - _SLACK
        one, other = _with_product(rows.vectors[here], others.vectors, possible, least)
        hits, first = np.unique(one, return_index=True)  # pairs are in the order of rows, then of others
        found[at + hits] = other[first]
    return found


def _with_product(rows: Floats, others: Floats, possible: npt.NDArray[np.bool_], least: int) -> tuple[Longs, Longs]:
    if dense := _is_dense(possible):
        possible &= rows @ others.T >= least
    one, other = np.nonzero(possible)
    if dense:
        return one, other
    near = [
        np.einsum("ij,ij->i", rows[one[at : at + _PAIRS]], others[other[at : at + _PAIRS]]) >= least
        for at in range(0, len(one), _PAIRS)
    ]
    kept = np.concatenate([np.zeros(0, bool), *near])
    return one[kept], other[kept]


def _is_dense(possible: npt.NDArray[np.bool_]) -> bool:
    return bool(np.count_nonzero(possible) > _DENSE * possible.size)


def _squares(vectors: Floats) -> Floats:
    """The square of the length of each vector."""
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors))
