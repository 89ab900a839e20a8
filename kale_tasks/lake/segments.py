"""Sorted copies of the indexes of deduplication: a key finds what it shares with earlier keys by binary search.

A segment holds the entries that some consecutive keys keep, sorted by hash. Which keys a segment holds follows from the
names of the keys, so that a new or a late key changes few segments, and any number of keys make a few of them for each
power of four. Segments are a cache: a segment is named by its files, made by whoever needs it first, and made again if
it is missing or damaged.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_digest

from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.parts import read_columns
from kale_tasks.lake.schemas import DEDUP_INDEX, LOOK_INDEX
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake

FOLDER = f"{DEDUP_INDEX.name}/segments"
MOST_ENTRIES = 1 << 24  # of one segment, which is read and made in memory
_LAYOUT = 2  # of the files; those of another one are made again
_FAN_OUT = 4
_FULL = 99  # level of a segment that is merged no more
_ENTRIES = DEDUP_INDEX.arrow
# What a segment stores of an entry; the last three only where some entry has a sketch, as only such entries need them.
# The filter has eight bits for each entry, and belongs to the segment as a whole.
_STORED = pa.schema(
    {
        "hash": pa.int64(),
        "filter": pa.uint8(),
        "kind": pa.dictionary(pa.int8(), pa.string()),
        "key": pa.dictionary(pa.int16(), pa.string()),
        "uid": pa.string(),
        "sketch_a": pa.int64(),
        "sketch_b": pa.int64(),
    }
)
_WITHOUT_SKETCHES = pa.schema([_STORED.field(name) for name in ("hash", "filter", "kind", "key")])
_FILTER_BITS = 8
_CHECKSUM_BYTES = 8  # at the end of a stored segment: XXH3 of all before it, five times as fast as a CRC
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """The entries that some consecutive keys keep."""

    files: tuple[tuple[str, str], ...]  # the key and the path of each file of the index
    entries: int  # at most
    level: int = 0
    parts: tuple["Segment", ...] = ()  # the smaller segments of which it is merged

    @cached_property
    def path(self) -> str:
        """Where it is stored."""
        known = hashlib.sha256("\n".join(path for _, path in self.files).encode())
        return f"{FOLDER}/{known.hexdigest()[:32]}-{_LAYOUT}.arrow"


def segments_of(indexes: Mapping[str, Snapshot]) -> list[Segment]:
    """Return the segments that hold the entries of these keys, each of them once."""
    found: list[Segment] = []
    for key in sorted(indexes):
        index = indexes[key]
        if index.files:
            found.append(Segment(tuple((key, file.path) for file in index.files), index.count))
            for level in range(1, _rank(key) + 1):
                _merge_last(found, level)
    return found


def _merge_last(found: list[Segment], level: int) -> None:
    """Merge the last segments, up to one of this level or above; as many as one segment may hold."""
    first = len(found)
    while first and found[first - 1].level < level:
        first -= 1
    groups: list[list[Segment]] = []
    for segment in found[first:]:
        if groups and sum(one.entries for one in groups[-1]) + segment.entries <= MOST_ENTRIES:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    found[first:] = [_joined(group, level if len(groups) == 1 else _FULL) for group in groups]


def _joined(parts: list[Segment], level: int) -> Segment:
    if len(parts) == 1:
        return replace(parts[0], level=level)
    files = tuple(file for segment in parts for file in segment.files)
    return Segment(files, sum(segment.entries for segment in parts), level, tuple(parts))


def _rank(key: str) -> int:
    """Return the level of the segments that end with a key: one key in four has 1 or more, one in sixteen 2 or more."""
    number, rank = int(hashlib.sha256(key.encode()).hexdigest()[:12], 16), 0
    while rank < _FULL - 1 and number % _FAN_OUT == 0 and number:
        number, rank = number // _FAN_OUT, rank + 1
    return rank


def find(storage: Storage, segment: Segment, hashes: Longs) -> pa.Table:
    """Return the entries of a segment that have one of these hashes, which must be sorted."""
    stored = _opened(storage, segment)
    if not stored.num_rows:
        return _ENTRIES.empty_table()
    known, bits = (stored[name].chunk(0).to_numpy() for name in ("hash", "filter"))
    return _entries(stored.take(pa.array(_rows_with(known, _passing(bits, hashes)))))


def unused_segments(lake: Lake) -> list[Entry]:
    """Return the stored segments that a key after all others would not need."""
    indexes: dict[tuple[Any, ...], dict[str, Snapshot]] = {}
    for name in (DEDUP_INDEX.name, *({LOOK_INDEX.name} & set(lake.tables()))):
        for partition, index in Snapshot.open_all(lake, name).items():
            indexes.setdefault((name, *partition.slice), {})[partition.key] = index
    needed = {segment.path for of_one in indexes.values() for segment in segments_of(of_one)}
    return [entry for entry in lake.storage.entries(FOLDER) if entry.path not in needed]


def _places(hashes: Longs, rows: int) -> Longs:
    """Return the bit of each hash in the filter of a segment: bits are in the order of hashes, as hashes are random."""
    positive = (hashes.view(np.uint64) ^ np.uint64(1 << 63)) >> np.uint64(11)  # as many bits as a float has
    return (positive * (_FILTER_BITS * rows / 2.0**53)).astype(np.int64)


def _filter(hashes: Longs) -> npt.NDArray[np.uint8]:
    """Return the filter of some hashes: the bits that belong to them are set."""
    bits = np.zeros(_FILTER_BITS * len(hashes), bool)
    bits[_places(hashes, len(hashes))] = True
    return np.packbits(bits, bitorder="little")


def _passing(bits: npt.NDArray[np.uint8], hashes: Longs) -> Longs:
    """Return the hashes whose bits are set. Of hashes that a segment lacks, seven in eight are not looked for."""
    places = _places(hashes, len(bits))
    passing: Longs = hashes[bits[places >> 3] >> (places & 7).astype(np.uint8) & 1 > 0]
    return passing


def _rows_with(sorted_hashes: Longs, wanted: Longs) -> Longs:
    if len(wanted) > len(sorted_hashes):
        return np.flatnonzero(_found(wanted, sorted_hashes)[1])
    first, inside = _found(sorted_hashes, wanted)
    first, wanted = first[inside], wanted[inside]
    counts = np.searchsorted(sorted_hashes, wanted, "right") - first
    # For each hash its rows, one after the other.
    return np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


def _found(places: Longs, values: Longs) -> tuple[Longs, npt.NDArray[np.bool_]]:
    """Return for each value its first place among sorted ones, and whether it is there."""
    first = np.searchsorted(places, values, "left")
    inside = first < len(places)
    inside[inside] = places[first[inside]] == values[inside]
    return first, inside


def _entries(stored: pa.Table) -> pa.Table:
    rows = stored.num_rows
    columns = {name: stored[name] for name in stored.column_names} | {"owner": pa.nulls(rows, pa.string())}
    columns.setdefault("uid", pa.repeat("", rows))
    return pa.table(
        {f.name: columns[f.name].cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in _ENTRIES},
        _ENTRIES,
    )


def _opened(storage: Storage, segment: Segment) -> pa.Table:
    """Open a stored segment, or make it. In a folder it is mapped, so that only the pages are read that are needed."""
    try:
        return _stored(storage, segment.path)
    except (FileNotFoundError, pa.ArrowInvalid):
        made = _made(storage, segment)
        storage.put(segment.path, _to_bytes(made))
        return made


def _stored(storage: Storage, path: str) -> pa.Table:
    """Read a stored segment; ArrowInvalid if a byte of it is not as it was written."""
    if isinstance(storage, FolderStorage):
        whole = pa.memory_map(str(Path(storage.root, path))).read_buffer()
    else:
        with storage.arrow.open_input_file(path) as source:
            whole = source.read_buffer()
    length = max(0, whole.size - _CHECKSUM_BYTES)
    if whole.slice(length).to_pybytes() != xxh3_64_digest(whole.slice(0, length)):
        raise pa.ArrowInvalid(f"{path} is damaged")
    return pa.ipc.open_file(whole.slice(0, length)).read_all()


def _made(storage: Storage, segment: Segment) -> pa.Table:
    if segment.parts and all(storage.exists(part.path) for part in segment.parts):
        tables = [_opened(storage, part) for part in segment.parts]
    else:
        tables = [_kept(storage, *file) for file in segment.files]
    names = max((table.schema for table in tables), key=len).names
    filled = [_with_columns(table, pa.schema([_STORED.field(name) for name in names])) for table in tables]
    whole = pa.concat_tables(filled).unify_dictionaries().combine_chunks()
    whole = whole.take(pa.array(np.argsort(whole["hash"].to_numpy(), kind="stable"))).combine_chunks()
    place = whole.schema.get_field_index("filter")
    return whole.set_column(place, _STORED.field("filter"), pa.array(_filter(whole["hash"].to_numpy())))


def _kept(storage: Storage, key: str, path: str) -> pa.Table:
    """Read the entries that a file says its key keeps."""
    with reading(path):
        read = read_columns(storage, path, DEDUP_INDEX.selected([n for n in _ENTRIES.names if n != "key"]))
    kept = read.filter(pc.is_null(read["owner"])).combine_chunks()
    columns = {n: kept[n] for n in kept.column_names}
    columns["key"] = _coded(pa.repeat(key, kept.num_rows), pa.int16())
    columns["kind"] = _coded(kept["kind"].combine_chunks(), pa.int8())
    sketched = kept["sketch_a"].null_count < kept.num_rows
    return _with_columns(pa.table(columns), _STORED if sketched else _WITHOUT_SKETCHES)


def _coded(values: pa.Array, codes: pa.DataType) -> pa.DictionaryArray:
    encoded = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(codes), encoded.dictionary)


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    rows = table.num_rows
    return pa.table(
        {
            f.name: table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(rows, f.type)
            for f in schema
        },
        schema,
    )


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table, max_chunksize=max(1, table.num_rows))
    written: bytes = sink.getvalue().to_pybytes()
    return written + xxh3_64_digest(written)
