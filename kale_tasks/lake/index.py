"""The indexes of deduplication: the entries that each key keeps, and those that it lost to an earlier key.

An entry that meets an entry of another key belongs to the earlier key, whatever the order of commits.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.segments import find, segments_of
from kale_tasks.lake.snapshot import Snapshot

INDEX, LOOKS = "dedup_index", "look_index"
INDEXES = (INDEX, LOOKS)
_ENTRY = ["uid", "kind", "hash", "sketch_a", "sketch_b"]
_MATCHED = ["kind", "hash"]


def keys_touched(
    key: str, before: Snapshot | None, after: Snapshot | None, indexes: Mapping[str, Snapshot]
) -> set[str]:
    """Return those of the later keys whose rows may be others because `key` keeps other entries than before.

    These are the later keys that keep an entry which `key` keeps now and did not before, and those that lost an entry
    to `key` which it no longer keeps. `before` and `after` are the index of `key`; None: nothing was committed, or the
    rows are gone. Searches the index of later keys only if the entries of `key` changed, and reads it only if some of
    these are gone.
    """
    later = {name: index for name, index in indexes.items() if name > key}
    if not later or (before is not None and after is not None and before.files == after.files):
        return set()
    old, new = _kept(before), _kept(after)
    gained, gone = _without(new, old), _without(old, new)
    if not gained.num_rows and not gone.num_rows:
        return set()
    losing = {n for n, index in later.items() if gone.num_rows and any(_lost(p, key, gone) for p in _read(index))}
    return losing | (_keeping(indexes, gained) & later.keys())


def overtaken(later: Snapshot, key: str, earlier: Snapshot | None) -> bool:
    """Whether rows of a later key may be others because of what `key` keeps now, which it was not compared with."""
    kept = _kept(earlier).select(_MATCHED)
    for part in _read(later):
        lost = part.filter(pc.equal(part["owner"], key)).select(_MATCHED)
        gone = lost.join(kept, _MATCHED, join_type="left anti")
        if gone.num_rows or _meet(part.filter(pc.is_null(part["owner"])), kept):
            return True
    return False


def _read(index: Snapshot) -> Iterator[pa.Table]:
    return index.batches([*_MATCHED, "owner"])


def _keeping(indexes: Mapping[str, Snapshot], entries: pa.Table) -> set[str]:
    """Return the keys that keep one of these entries."""
    hashes, found = np.unique(entries["hash"].to_numpy()), set[str]()
    for segment in segments_of(indexes) if len(hashes) else ():
        storage = indexes[segment.files[0][0]].storage
        same = find(storage, segment, hashes).join(entries, _MATCHED, join_type="left semi")
        found |= set(same["key"].unique().to_pylist())
    return found


def _lost(part: pa.Table, key: str, gone: pa.Table) -> bool:
    return _meet(part.filter(pc.equal(part["owner"], key)), gone)


def _meet(entries: pa.Table, others: pa.Table) -> bool:
    if not entries.num_rows or not others.num_rows:
        return False
    near = entries.filter(pc.is_in(entries["hash"], others["hash"].combine_chunks()))
    return bool(near.num_rows and near.join(others, _MATCHED, join_type="left semi").num_rows)


def _kept(index: Snapshot | None) -> pa.Table:
    if index is None:
        return TABLES[INDEX].selected(_ENTRY).empty_table()
    parts = (part.filter(pc.is_null(part["owner"])).select(_ENTRY) for part in index.batches([*_ENTRY, "owner"]))
    return pa.concat_tables([TABLES[INDEX].selected(_ENTRY).empty_table(), *parts])


def _without(entries: pa.Table, others: pa.Table) -> pa.Table:
    # A join never matches nulls, so missing sketches are compared as zeros.
    filled, against = (
        table.set_column(3, "sketch_a", pc.fill_null(table["sketch_a"], 0)).set_column(
            4, "sketch_b", pc.fill_null(table["sketch_b"], 0)
        )
        for table in (entries, others)
    )
    return filled.join(against, _ENTRY, join_type="left anti").select(_MATCHED)
