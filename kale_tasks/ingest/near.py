"""MinHash signatures of texts, made in native code without a Python object per shingle."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from kale_tasks.config.ingest import Dedup

SKETCH_BITS = 128
_SEED = 20_261_101
_U64 = npt.NDArray[np.uint64]
_I64 = npt.NDArray[np.int64]


def signatures(texts: Sequence[str], dedup: Dedup) -> tuple[_I64, _I64]:
    """For each text its band hashes, and a sketch of 128 bits of which equal texts share all, strangers half."""
    permutations = max(SKETCH_BITS, dedup.bands * dedup.band_rows)
    if not texts:
        return np.empty((0, dedup.bands), np.int64), np.empty((0, 2), np.int64)
    shingles, offsets = _shingles(texts, dedup.shingle)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, permutations, _SEED)
    digest = np.array(matrix.to_rows(), dtype=np.uint32)
    return bands_of(digest, dedup.bands, dedup.band_rows), sketch_of((digest[:, :SKETCH_BITS] & 1).astype(bool))


def bands_of(digest: npt.NDArray[np.uint32], bands: int, rows: int) -> _I64:
    """One hash for each group of values that have to agree all together."""
    grouped = digest[:, : bands * rows].reshape(len(digest), bands, rows).astype(np.uint64)
    hashed = _mix(np.arange(1, bands + 1, dtype=np.uint64))[None, :].repeat(len(digest), axis=0)
    for row in range(rows):
        hashed = _mix(hashed ^ grouped[:, :, row])
    return hashed.view(np.int64)


def sketch_of(bits: npt.NDArray[np.bool_]) -> _I64:
    """128 bits of each row as two integers."""
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
    return _mix(hashed[inside[: len(hashed)]]), offsets


def _mix(values: _U64) -> _U64:
    # The finaliser of splitmix64: every input bit changes every output bit.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
