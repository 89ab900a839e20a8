"""Sketches by which near texts and near pictures are found: MinHash of texts, random planes through embeddings."""

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
_PLANE_BANDS, _PLANE_BITS = 32, 24  # of embeddings: cosine 0.98 meets with 0.999, 0.95 with 0.93, 0.7 with 0.02
_U64 = npt.NDArray[np.uint64]
Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def text_sketches(texts: Sequence[str], dedup: Dedup) -> tuple[Longs, Longs]:
    """For each text its band hashes, and 128 bits of which equal texts share all, strangers half."""
    permutations = max(SKETCH_BITS, dedup.bands * dedup.band_rows)
    shingles, offsets = _shingles(texts, dedup.shingle)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, permutations, _SEED)
    digest = np.array(matrix.to_rows(), dtype=np.uint64)
    return _bands(digest, dedup.bands, dedup.band_rows), _packed((digest[:, :SKETCH_BITS] & np.uint64(1)).astype(bool))


def embedding_sketches(embeddings: pa.Array) -> tuple[Longs, Longs, Flags] | None:
    """The same for embeddings, and which rows have one of the usual length; None when no row has any."""
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
    """How many bits of the sketches of two texts may differ: half of what they do not share, on average."""
    return round(SKETCH_BITS * (1 - similarity) / 2)


def embedding_bits(cosine: float) -> int:
    """How many bits of the sketches of two embeddings may differ: the planes that pass between them."""
    return round(SKETCH_BITS * math.acos(cosine) / math.pi)


def _bands(digest: _U64, bands: int, rows: int) -> Longs:
    # One hash for each group of values that have to agree all together.
    grouped = digest[:, : bands * rows].reshape(len(digest), bands, rows)
    hashed = _mixed(np.arange(1, bands + 1, dtype=np.uint64))[None, :].repeat(len(digest), axis=0)
    for row in range(rows):
        hashed = _mixed(hashed ^ grouped[:, :, row])
    return hashed.view(np.int64)


def _packed(bits: Flags) -> Longs:
    return np.packbits(bits, axis=1).view(np.int64)


def _shingles(texts: Sequence[str], width: int) -> tuple[_U64, _U64]:
    # Every window of `width` bytes of ` text `, hashed; windows over the seam of two texts are left out.
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
    # Every bit that goes in changes half of those that come out.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
