"""Comparisons between images: placeholders and near duplicates within a key, and images of an evaluation set."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.contract.types import Part, Quarantined
from kale_tasks.images.decode_pool import DecodePool
from kale_tasks.images.outcomes import outcome_counts
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.lake.evaluation import evaluation_images
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.receipts import Receipt
from kale_tasks.runner.run import Run
from kale_tasks.threads import map_ahead

Hashes = npt.NDArray[np.uint64]
NEAR_DUPLICATE = "near_duplicate"
_Mask = npt.NDArray[np.bool_]
_BAND_BITS, _BANDS = 16, 4
_NEIGHBOURS = 64  # comparisons per hash and band: plain pictures share bands by the thousand


class EvaluationSet:
    """The perceptual hashes of the images of `images.evaluation`."""

    def __init__(self, lake: Lake, pool: DecodePool, near_bits: int) -> None:
        self._near_bits = near_bits
        found = list(pool.threads.map(lambda image: _phash(pool, image), evaluation_images(lake)))
        self._hashes = np.array([h for h in found if h is not None], dtype=np.int64).view(np.uint64)

    def contains(self, phash: int) -> bool:
        """Return whether the set has this image or a near duplicate of it."""
        one = np.array([phash], dtype=np.int64).view(np.uint64)
        return bool((np.bitwise_count(self._hashes ^ one) <= self._near_bits).any())


def placeholders(sha256: Hashes, count: int) -> _Mask:
    """Return which hashes occur at least `count` times."""
    _, inverse, times = np.unique(sha256, return_inverse=True, return_counts=True)
    return np.asarray(times[inverse] >= count)


def near_duplicates(phash: Hashes, near_bits: int) -> _Mask:
    """Return which hashes have an earlier one that differs in at most `near_bits` (0 to 3) bits.

    Two such hashes agree in at least one of four bands of 16 bits, so only hashes that share a band are compared.
    """
    marked = np.zeros(len(phash), dtype=bool)
    for band in range(_BANDS):
        part = (phash >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)
        order = np.lexsort((np.arange(len(phash)), phash, part))
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            together = part[one] == part[other]
            if not together.any():
                break
            one, other = one[together], other[together]
            near = np.bitwise_count(phash[one] ^ phash[other]) <= near_bits
            marked[np.maximum(one[near], other[near])] = True
    return marked


class _PartHashes(NamedTuple):
    """What the key-wide comparison needs of a part: 24 bytes an image."""

    sha256: Hashes
    phash: Hashes
    ok: _Mask
    marked: _Mask  # already flagged as near duplicate
    removed: Hashes  # hashes of placeholders that an earlier call has quarantined


def finalize(run: Run, receipts: Mapping[int, Receipt]) -> Iterator[Part]:
    """Yield the parts that key-wide comparison changes: placeholders quarantined, near duplicates flagged.

    Idempotent: yields nothing when called again on its own result.
    """
    if not receipts:  # of a key without pairs
        return
    numbers = sorted(receipts)
    parts = dict(zip(numbers, map_ahead(lambda number: _part_hashes(run, receipts[number]), numbers), strict=True))
    ok = np.concatenate([part.ok for part in parts.values()])
    sha256 = np.concatenate([part.sha256 for part in parts.values()])[ok]
    removed = np.concatenate([part.removed for part in parts.values()])
    placeholder, near = np.zeros_like(ok), np.zeros_like(ok)
    limit = run.settings.images.placeholder_count
    placeholder[ok] = placeholders(np.concatenate([sha256, removed]), limit)[: len(sha256)]
    rest = ok & ~placeholder
    phash = np.concatenate([part.phash for part in parts.values()])
    near[rest] = near_duplicates(phash[rest], run.settings.images.near_bits)
    ends = accumulate(len(part.ok) for part in parts.values())
    spans = {number: slice(end - len(part.ok), end) for end, (number, part) in zip(ends, parts.items(), strict=True)}
    changed = [n for n, at in spans.items() if placeholder[at].any() or (near[at] != parts[n].marked).any()]
    yield from map_ahead(lambda n: _changed_part(run, receipts[n], placeholder[spans[n]], near[spans[n]]), changed)


def _part_hashes(run: Run, receipt: Receipt) -> _PartHashes:
    rows = _read_part(run, "images", receipt, ["uid", "sha256", "phash", "status", "flags"])
    uids = set(rows["uid"].to_pylist())
    removed = [q for q in _quarantined(run, receipt) if q.reason == Reason.PLACEHOLDER and q.uid not in uids]
    marked = [NEAR_DUPLICATE in (flags or ()) for flags in rows["flags"].to_pylist()]
    return _PartHashes(
        _prefixes(rows["sha256"].to_pylist()),
        rows["phash"].fill_null(0).to_numpy().view(np.uint64),
        pc.equal(rows["status"], "ok").to_numpy().astype(bool),
        np.array(marked, dtype=bool),
        _prefixes([q.detail for q in removed]),
    )


def _changed_part(run: Run, receipt: Receipt, placeholder: _Mask, near: _Mask) -> Part:
    rows = _read_part(run, "images", receipt)
    flags = [
        [*(f for f in flags or () if f != NEAR_DUPLICATE), *([NEAR_DUPLICATE] if marked else [])]
        for flags, marked in zip(rows["flags"].to_pylist(), near, strict=True)
    ]
    rows = rows.set_column(rows.column_names.index("flags"), "flags", pa.array(flags, rows.schema.field("flags").type))
    new = [
        Quarantined(row["uid"], Reason.PLACEHOLDER, row["sha256"], row["attempts"])
        for row in rows.filter(pa.array(placeholder)).to_pylist()
    ]
    new_uids = {q.uid for q in new}
    earlier = [q for q in _quarantined(run, receipt) if q.uid not in new_uids]
    kept = rows.filter(pa.array(~placeholder))
    meta, counts = receipt.meta, outcome_counts(kept.select(["status", "reason"]).to_pylist())
    return Part(meta.number, kept, meta.rows_in, meta.dropped, [*earlier, *new], metrics=counts, shards=receipt.shards)


def _quarantined(run: Run, receipt: Receipt) -> list[Quarantined]:
    rows = _read_part(run, "quarantine", receipt).to_pylist()
    return [Quarantined(row["uid"], row["reason"], row["detail"], row["attempts"]) for row in rows]


def _read_part(run: Run, table: str, receipt: Receipt, columns: list[str] | None = None) -> pa.Table:
    if table not in receipt.files:
        return TABLES[table].selected(columns).empty_table()
    with run.lake.storage.arrow.open_input_file(receipt.files[table].path) as file:
        return pq.read_table(file, columns=columns, page_checksum_verification=True)


def _prefixes(hashes: list[str | None]) -> Hashes:
    return np.array([int(h[:16], 16) if h else 0 for h in hashes], dtype=np.uint64)


def _phash(pool: DecodePool, image: bytes) -> int | None:
    try:
        info, _ = pool.decode(image, keep=True)
    except ImageError:
        return None
    return info.phash
