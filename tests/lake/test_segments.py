"""Segments of the index: every entry is found once, and a new key changes few of them."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kale_tasks.lake import parts, segments
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import DEDUP_INDEX
from kale_tasks.lake.segments import Segment, find, segments_of
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Committed

APART = 1 << 52  # between two hashes, which are spread over all integers
KEYS = [str(date(2026, 1, 1) + timedelta(days=n)) for n in range(300)]


def entries(key: str, seed: int, sketches: bool = False) -> pa.Table:
    """Make an index of ten rows that keep entries, and one that is lost."""
    rng = np.random.default_rng(seed)
    count = 11
    values: dict[str, Any] = {
        "uid": [f"{number:032x}" for number in rng.integers(0, 1 << 60, count)],
        "key": [key] * count,
        "kind": ["uid", "url"] * 5 + ["uid"],
        "hash": rng.integers(-50, 50, count) * APART,
        "owner": [None] * 10 + ["2025-12-31"],
    }
    if sketches:
        values |= {name: rng.integers(0, 9, count) for name in ("sketch_a", "sketch_b")}
    return pa.table(
        {
            f.name: pa.array(values[f.name], f.type) if f.name in values else pa.nulls(count, f.type)
            for f in DEDUP_INDEX.arrow
        }
    )


def snapshot(storage: FolderStorage, key: str, *tables: pa.Table) -> Snapshot:
    """Write tables as the index of a key."""
    files = []
    for number, table in enumerate(tables):
        meta = PartMeta("run", number, table.num_rows, table.num_rows)
        file = parts.write(storage, f"dedup_index/key={key}/run", meta, table)
        files.append(DataFile(path=file.path, rows=file.rows, uid_min="", uid_max=""))
    return Snapshot(storage, Partition.of("dedup_index", key), Committed.__new__(Committed), tuple(files))


def named(key: str, rows: int) -> Snapshot:
    """Make the snapshot of an index without its files."""
    file = DataFile(path=f"dedup_index/key={key}/part", rows=rows, uid_min="", uid_max="")
    return Snapshot(None, Partition.of("dedup_index", key), Committed.__new__(Committed), (file,))  # type: ignore[arg-type]


def sizes(keys: Sequence[str], rows: int = 1000) -> list[Segment]:
    """Return the segments of keys of equal size."""
    return segments_of({key: named(key, rows) for key in keys})


def test_any_number_of_keys_makes_few_segments_that_hold_each_key_once() -> None:
    for count in (1, 10, 100, 300):
        found = sizes(KEYS[:count])
        assert [key for segment in found for key, _ in segment.files] == KEYS[:count]
        assert len(found) <= 24
    assert len(sizes(KEYS)) <= 3 * len(sizes(KEYS[:10]))


def _with_parts(found: Sequence[Segment]) -> Iterator[Segment]:
    for segment in found:
        yield segment
        yield from _with_parts(segment.parts)


def test_a_new_or_a_late_key_changes_few_segments() -> None:
    late = KEYS[:150] + KEYS[151:]
    for fewer in (KEYS[:-1], late):
        before = {segment.path for segment in _with_parts(sizes(fewer))}
        made = [segment for segment in _with_parts(sizes(KEYS)) if segment.path not in before]
        assert 1 <= len(made) <= 7  # one of each level at most


def test_a_segment_has_a_largest_size() -> None:
    found = sizes(KEYS, rows=segments.MOST_ENTRIES // 10)
    assert all(segment.entries <= segments.MOST_ENTRIES for segment in found)
    assert [key for segment in found for key, _ in segment.files] == KEYS
    assert len(found) < 60  # 30 at best


@pytest.mark.parametrize("wanted", [np.arange(-40, 40, 3) * APART, np.arange(-2000, 2000) * APART], ids=["few", "many"])
@pytest.mark.parametrize("sketched", [(), range(3, 7)], ids=["plain", "some with sketches"])
def test_every_kept_entry_is_found_once_with_all_its_values(
    tmp_path: Path, sketched: Sequence[int], wanted: segments.Longs
) -> None:
    storage = FolderStorage(tmp_path)
    indexes, expected = {}, list[dict[str, Any]]()
    for number, key in enumerate(KEYS[:30]):
        made = [entries(key, 2 * number + half, number in sketched) for half in (0, 1)]
        indexes[key] = snapshot(storage, key, *made)
        expected += [row for table in made for row in table.to_pylist() if row["owner"] is None]
    for _ in range(2):  # the second time from what is stored
        tables = [find(storage, segment, wanted) for segment in segments_of(indexes)]
        assert all(table.schema == DEDUP_INDEX.arrow for table in tables)
        found = [row for table in tables for row in table.to_pylist()]
        hits = [row for row in expected if row["hash"] in wanted]
        if not sketched:  # nothing asks for the uid of such an entry
            hits = [{**row, "uid": ""} for row in hits]
        assert len(found) == len(hits)
        if not sketched:
            assert sorted(map(str, found)) == sorted(map(str, hits))
        assert {_of(row) for row in found} == {_of(row) for row in hits}


def _of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("key", "kind", "hash", "sketch_a", "sketch_b", "owner"))


def test_a_damaged_or_missing_segment_is_made_again(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    (segment,) = segments_of({KEYS[0]: snapshot(storage, KEYS[0], entries(KEYS[0], 1))})
    hashes = np.arange(-50, 50)
    whole = find(storage, segment, hashes)
    stored = tmp_path / segment.path
    content = stored.read_bytes()
    stored.write_bytes(content[: len(content) // 2])
    assert find(storage, segment, hashes) == whole
    assert stored.read_bytes() == content
    for at in range(0, len(content), 7):
        stored.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        assert find(storage, segment, hashes) == whole
        assert stored.read_bytes() == content
    stored.write_bytes(content[:-8])  # as segments were stored before they had a checksum
    assert find(storage, segment, hashes) == whole
    stored.unlink()
    assert find(storage, segment, hashes) == whole
