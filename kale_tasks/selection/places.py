"""Where a vector or a perceptual hash is, as hashes by which other keys find it, in a codebook that never changes.

A vector is described by the nearest of fixed codewords, in several groups of them; what most images have in common does
not count, as each codeword has as many steps up as down. Rows that share a place are compared by 128 bits, one for each
of as many fixed directions.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.lake.schemas import LOOK_INDEX
from kale_tasks.selection.vectors import Floats

Longs = npt.NDArray[np.int64]
LOOK, PHASH = "look", "phash"
SKETCH_BITS = 128
_SEED = 20_261_130
_ROWS = 1024  # whose products with all codewords are held at once: 12 MB
_BANDS, _GROUPS, _WORDS = 16, 3, 64  # in each group a word and its opposite: 128 codewords
_HASH_BANDS, _HASH_BITS = 4, 16
_SPREAD = np.array(0x9E3779B97F4A7C15, np.uint64).view(np.int64)  # so that hashes are all over the 64 bits
ENTRIES = pa.schema([LOOK_INDEX.arrow.field(n) for n in ("kind", "hash", "sketch_a", "sketch_b")])


def entries(vectors: Floats, phashes: Longs) -> tuple[pa.Table, Longs]:
    """Return the index entries of some rows, and the number of the row of each."""
    tiles = [_looks(vectors[at : at + _ROWS]) for at in range(0, len(vectors), _ROWS)]
    looks, plain = np.concatenate([np.zeros((0, _BANDS), np.int64), *tiles]), _plain(phashes)
    rows = np.concatenate([np.repeat(np.arange(len(vectors)), _BANDS), np.repeat(np.arange(len(phashes)), _HASH_BANDS)])
    kinds = np.repeat([LOOK, PHASH], [len(vectors) * _BANDS, len(phashes) * _HASH_BANDS])
    first, second = _sketches(vectors)
    columns = [
        np.concatenate([looks.ravel(), _bands(phashes).ravel()]) * _SPREAD,
        np.concatenate([np.repeat(first, _BANDS), np.repeat(phashes, _HASH_BANDS)]),
        np.concatenate([np.repeat(second, _BANDS), np.zeros(len(phashes) * _HASH_BANDS, np.int64)]),
    ]
    table = pa.table([pa.array(kinds, pa.string()), *map(pa.array, columns)], schema=ENTRIES)
    kept = np.concatenate([np.ones(looks.size, bool), ~plain.ravel()])
    return table.filter(pa.array(kept)), rows[kept]


def look_bits(cosine: float) -> int:
    """In how many bits the sketches of two copies may differ."""
    return round(SKETCH_BITS * math.acos(cosine) / math.pi)


def _looks(vectors: Floats) -> Longs:
    """The hash of each band: the nearest codeword in each of its groups."""
    products = vectors @ _directions(vectors.shape[1])[:, SKETCH_BITS:]
    products = products.reshape(len(vectors), _BANDS * _GROUPS, _WORDS)
    word = np.abs(products).argmax(2)
    sign = np.take_along_axis(products, word[:, :, None], 2)[:, :, 0] < 0
    words = (word + _WORDS * sign).reshape(len(vectors), _BANDS, _GROUPS)
    hashed = np.broadcast_to(np.arange(_BANDS), (len(vectors), _BANDS)).astype(np.int64)
    for group in range(_GROUPS):
        hashed = hashed * (2 * _WORDS) + words[:, :, group]
    return hashed


def _sketches(vectors: Floats) -> tuple[Longs, Longs]:
    sides = vectors @ _directions(vectors.shape[1])[:, :SKETCH_BITS] > 0
    packed = np.packbits(sides, axis=1).view(np.int64)
    return packed[:, 0], packed[:, 1]


def _bands(phashes: Longs) -> Longs:
    shifts = np.arange(_HASH_BANDS, dtype=np.uint64) * np.uint64(_HASH_BITS)
    parts = (phashes.view(np.uint64)[:, None] >> shifts) & np.uint64((1 << _HASH_BITS) - 1)
    return (parts + (np.arange(_HASH_BANDS, dtype=np.uint64) << np.uint64(_HASH_BITS))).astype(np.int64)


def _plain(phashes: Longs) -> npt.NDArray[np.bool_]:
    """The bands that hold nothing: plain images share them by the million."""
    parts = _bands(phashes) & ((1 << _HASH_BITS) - 1)
    return np.asarray((parts == 0) | (parts == (1 << _HASH_BITS) - 1))


@cache
def _directions(width: int) -> Floats:
    """Directions of steps up and down in random order, as many of each: of 1 and -1, so that products are exact."""
    count = SKETCH_BITS + _BANDS * _GROUPS * _WORDS
    half = np.where(np.arange(width) < width // 2, 1, np.where(np.arange(width) < width // 2 * 2, -1, 0))
    made = np.random.default_rng(_SEED).permuted(np.tile(half, (count, 1)), axis=1)
    return np.ascontiguousarray(made.T, dtype=np.float32)
