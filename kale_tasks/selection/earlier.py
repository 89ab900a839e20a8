"""Finds what earlier keys keep among the places of this key's rows."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.schemas import LOOK_INDEX
from kale_tasks.lake.segments import find, segments_of
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.selection.places import LOOK, PHASH, entries
from kale_tasks.selection.vectors import Floats

Longs = npt.NDArray[np.int64]
_STORED = LOOK_INDEX.arrow


class Limits(NamedTuple):
    """In how many bits copies may differ: of the sketches of vectors, and of perceptual hashes."""

    look: int
    phash: int


def owners(vectors: Floats, phashes: Longs, earlier: Mapping[str, Snapshot], limits: Limits) -> list[str | None]:
    """Return for each row the first earlier key that keeps a copy of it; None if there is none."""
    mine, rows = entries(vectors, phashes)
    found: list[str | None] = [None] * len(vectors)
    order = np.argsort(mine["hash"].to_numpy(), kind="stable")
    mine, rows = mine.take(pa.array(order)), rows[order]
    hashes = mine["hash"].to_numpy()
    for segment in segments_of(earlier):
        theirs = find(earlier[segment.files[0][0]].storage, segment, np.unique(hashes))
        for kind, bits in ((LOOK, limits.look), (PHASH, limits.phash)):
            for row, key in _near(mine, rows, theirs, kind, bits):
                known = found[row]
                found[row] = key if known is None else min(known, key)
    return found


def index_rows(
    uids: list[str], vectors: Floats, phashes: Longs, lost_to: list[str | None], fixed: Mapping[str, str]
) -> pa.Table:
    """The rows of `look_index` for some rows: those without an owner are kept by this key. `fixed`: key and pass."""
    made, rows = entries(vectors, phashes)
    order = np.argsort(rows, kind="stable")
    made, rows = made.take(pa.array(order)), rows[order]
    known = {
        **{name: made[name] for name in made.column_names},
        **{name: pa.array([values[row] for row in rows], pa.string()) for name, values in
           (("uid", uids), ("owner", lost_to))},
        **{name: pa.repeat(value, made.num_rows) for name, value in fixed.items()},
    }  # fmt: skip
    return pa.table([known[name] for name in _STORED.names], schema=_STORED)


def _near(mine: pa.Table, rows: Longs, theirs: pa.Table, kind: str, bits: int) -> set[tuple[int, str]]:
    theirs, of_kind = theirs.filter(pc.equal(theirs["kind"], kind)), pc.equal(mine["kind"], kind)
    mine, rows = mine.filter(of_kind), rows[of_kind.to_numpy(zero_copy_only=False)]
    hashes, wanted = mine["hash"].to_numpy(), theirs["hash"].to_numpy()
    first, last = np.searchsorted(hashes, wanted, "left"), np.searchsorted(hashes, wanted, "right")
    counts = last - first
    other = np.repeat(np.arange(len(wanted)), counts)
    one = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    differ = sum(
        np.bitwise_count(
            mine[half].to_numpy()[one].view(np.uint64) ^ theirs[half].to_numpy()[other].view(np.uint64)
        ).astype(np.int64)
        for half in ("sketch_a", "sketch_b")
    )
    near = differ <= bits
    keys = theirs["key"].take(pa.array(other[near])).to_pylist()
    return set(zip(rows[one[near]].tolist(), keys, strict=True))
