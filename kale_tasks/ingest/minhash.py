"""Sketches that find near duplicates: MinHash for texts, random hyperplanes for embeddings."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rensa import RMinHash

from kale_tasks.settings.ingest import Dedup

SKETCH_BITS = 128
_SEED = 20_261_101
# Two embeddings share a band with probability 0.999 at cosine 0.98, 0.93 at 0.95, 0.02 at 0.7.
_PLANE_BANDS, _PLANE_BITS = 32, 24
_U64 = npt.NDArray[np.uint64]
Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def text_sketches(texts: Sequence[str], dedup: Dedup) -> tuple[Longs, Longs]:
    """Return the band hashes of each text, and a sketch of 128 bits in two integers.

    Equal texts agree in all bits of the sketch, unrelated texts in about half of them.
    """
    permutations = max(SKETCH_BITS, dedup.bands * dedup.band_rows)
    shingles, offsets = _shingles(texts, dedup.shingle)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, permutations, _SEED)
    digest = np.array(matrix.to_rows(), dtype=np.uint64)
    return _bands(digest, dedup.bands, dedup.band_rows), _packed((digest[:, :SKETCH_BITS] & np.uint64(1)).astype(bool))


def embedding_sketches(embeddings: pa.Array) -> tuple[Longs, Longs, Flags] | None:
    """Return band hashes, sketches, and which rows have an embedding; None when no row has one.

    Embeddings of another length than the most frequent one count as missing.
    """
    lengths = pc.list_value_length(embeddings).fill_null(0).to_numpy(zero_copy_only=False)
    width = int(np.bincount(lengths[lengths > 0]).argmax()) if (lengths > 0).any() else 0
    if not width:
        return None
    known = lengths == width
    vectors = np.zeros((len(lengths), width), np.float64)
    vectors[known] = embeddings.filter(pa.array(known)).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    planes = np.random.default_rng(_SEED).standard_normal((width, SKETCH_BITS + _PLANE_BANDS * _PLANE_BITS))
    sides = vectors @ planes > 0
    return (
        _bands(sides[:, SKETCH_BITS:].astype(np.uint64), _PLANE_BANDS, _PLANE_BITS),
        _packed(sides[:, :SKETCH_BITS]),
        known,
    )


def text_bits(similarity: float) -> int:
    """Return how many bits of two sketches differ at a Jaccard similarity: on average half of what is not shared."""
    return round(SKETCH_BITS * (1 - similarity) / 2)


def embedding_bits(cosine: float) -> int:
    """Return how many bits of two sketches differ at a cosine: one for each hyperplane between the embeddings."""
    return round(SKETCH_BITS * math.acos(cosine) / math.pi)


def _bands(digest: _U64, bands: int, rows: int) -> Longs:
    # One hash per group of values; groups have equal hashes only if all their values are equal.
    grouped = digest[:, : bands * rows].reshape(len(digest), bands, rows)
    hashed = _mixed(np.arange(1, bands + 1, dtype=np.uint64))[None, :].repeat(len(digest), axis=0)
    for row in range(rows):
        hashed = _mixed(hashed ^ grouped[:, :, row])
    return hashed.view(np.int64)


def _packed(bits: Flags) -> Longs:
    return np.packbits(bits, axis=1).view(np.int64)


def _shingles(texts: Sequence[str], width: int) -> tuple[_U64, _U64]:
    # Hashes every window of `width` bytes of ` text `. Windows across two texts are left out.
    padded = [f" {text} ".encode().ljust(width) for text in texts]
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    letters = np.frombuffer(b"".join(padded), np.uint8).astype(np.uint64)
    hashed = np.zeros(len(letters) - width + 1, np.uint64)
    for at in range(width):
        hashed = hashed * np.uint64(1_099_511_628_211) + letters[at : at + len(hashed)]
    ends = np.cumsum(lengths)
    inside = np.ones(len(letters), bool)
    for back in range(1, width):
        inside[ends - back] = False
    offsets = np.concatenate(([0], np.cumsum(lengths - width + 1))).astype(np.uint64)
    return _mixed(hashed[inside[: len(hashed)]]), offsets


def _mixed(values: _U64) -> _U64:
    # The finalizer of splitmix64: each input bit changes about half of the output bits.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
