"""Clusters of vectors: k-means on the sphere, and how many rows each cluster may keep."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.selection.vectors import STEPS, Floats, Vectors

Longs = npt.NDArray[np.int64]
NEAREST = pa.schema({"cluster": pa.int32(), "closeness": pa.int32()})
SAMPLE_ROWS = 16_384  # most rows that centres are made of: 80 MB of vectors of 1,280 numbers
_ROUNDS = 12
_ROWS = 4096  # compared with all centres at once


def centres(sample: Floats, count: int) -> Floats:
    """Make centres for a sample: each the mean direction of the rows next to it, in whole steps.

    A centre that loses all its rows takes the place of the row that is farthest from any.
    """
    count = min(count, len(sample))
    found = sample[np.arange(count) * len(sample) // max(count, 1)]
    for _ in range(_ROUNDS):
        cluster, closeness = nearest(sample, found)
        members = np.argsort(cluster, kind="stable")
        ends = np.searchsorted(cluster[members], np.arange(count + 1))
        far = iter(np.argsort(closeness, kind="stable"))
        moved = [
            _direction(sample[members[start:end]]) if end > start else sample[next(far)]
            for start, end in pairwise(ends)
        ]
        found = np.stack(moved)
    return found


def nearest(rows: Floats, found: Floats) -> tuple[Longs, Longs]:
    """Return for each row its cluster, the first of the nearest centres, and the product with that centre."""
    cluster, closeness = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for at in range(0, len(rows), _ROWS):
        products = rows[at : at + _ROWS] @ found.T
        cluster[at : at + _ROWS] = products.argmax(1)
        closeness[at : at + _ROWS] = products.max(1)
    return cluster, closeness


@dataclass(frozen=True)
class Assign:
    """Assigns the rows of a block to clusters. Can be pickled."""

    vectors: Vectors
    centres: Floats

    def __call__(self, block: int) -> pa.Table:
        """Return cluster and closeness of each row."""
        cluster, closeness = nearest(self.vectors.read(block), self.centres)
        return pa.table([pa.array(cluster, pa.int32()), pa.array(closeness, pa.int32())], schema=NEAREST)


def quotas(sizes: Longs, wanted: int) -> Longs:
    """Share a number of rows out to clusters: to each as many as to any other, as far as it has them.

    What is left when each has had its turn goes to the largest ones.
    """
    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= wanted else (low, middle - 1)
    found = np.minimum(sizes, low)
    larger = np.lexsort((np.arange(len(sizes)), -sizes))
    larger = larger[sizes[larger] > low][: max(wanted - int(found.sum()), 0)]
    found[larger] += 1
    return found


def _direction(rows: Floats) -> Floats:
    total = rows.sum(0, dtype=np.float64)
    length = max(float(np.sqrt((total * total).sum())), 1.0)
    return np.asarray(np.round(total / length * STEPS), dtype=np.float32)
