"""Formats that other tools save: JSON, Arrow shards, UTF-16, folders of pictures; and files larger than memory."""

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from kale_tasks.ingest import scan
from kale_tasks.ingest.pieces import data_files, pieces_of
from kale_tasks.ingest.sources import columns_of, read_piece
from kale_tasks.lake.landing import landing_storage
from tests.ingest.test_sources import _json_lines, _table, account, land_bytes
from tests.ingest.world import KEY, Record, balanced, ingest, kept, land_lines, pair, settings_for, texts

ROWS = [pair(n) for n in range(30)]


def _arrow(rows: list[Record], *, stream: bool) -> bytes:
    table, buffer = pa.Table.from_pylist(rows), io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.json", lambda rows: json.dumps(rows).encode()),
        ("a.json", lambda rows: json.dumps(rows, indent=2).encode()),
        ("a.json", _json_lines),
        ("a.arrow", lambda rows: _arrow(rows, stream=False)),
        ("data-00000-of-00001.arrow", lambda rows: _arrow(rows, stream=True)),
        ("a.feather", lambda rows: _arrow(rows, stream=False)),
        ("a.jsonl", lambda rows: _json_lines(rows).decode().encode("utf-16")),
        ("a.csv", lambda rows: _table(",")(rows).decode().encode("utf-16")),
        ("a.json", lambda rows: json.dumps(rows, ensure_ascii=False).encode("utf-16")),
    ],
)
def test_the_format_gives_the_pairs_that_were_written(
    tmp_path: Path, name: str, write: Callable[[list[Record]], bytes]
) -> None:
    path = tmp_path / "landing" / KEY / name
    path.parent.mkdir(parents=True)
    path.write_bytes(write(ROWS))
    (path.parent / "dataset_info.json").write_text('{"features": {}}')
    (path.parent / "00000_stats.json").write_text('{"count": 30}')
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    assert (committed.rows_in, texts(settings)) == (30, sorted(row["text"] for row in ROWS))
    (file,) = data_files(settings, KEY)
    assert columns_of(landing_storage(settings), file) == ["url", "text"]


def test_a_folder_of_pictures_has_a_row_for_each_text_beside_a_picture(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / KEY / "00000"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8")
    one, two, three = (pair(n) for n in (1, 2, 3))
    (folder / "0.json").write_text(json.dumps(one))
    (folder / "1.json").write_text(json.dumps({"url": two["url"]}))
    (folder / "1.txt").write_text(two["text"])
    (folder / "2.json").write_text("{torn")
    (folder / "3.txt").write_text(three["text"])
    (folder / "readme.txt").write_text("beside no picture")
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    assert balanced(committed)
    assert (committed.rows_in, committed.quarantined, committed.dropped) == (4, 1, {})
    assert texts(settings) == sorted([one["text"], two["text"], three["text"]])
    (folder / "1.txt").write_text("Another view of the harbour of Mostar")
    assert ingest(settings)[0].fingerprint != committed.fingerprint


def test_a_json_file_that_breaks_off_loses_only_the_rest(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json", json.dumps([pair(n) for n in range(5)], indent=1).encode()[:-60])
    assert account(tmp_path) == (6, 5, {"broken_file": 1})


def test_values_that_are_no_objects_are_bad_records(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json", json.dumps([pair(1), None, "x", [pair(2)]]).encode())
    found = account(tmp_path)
    assert found[2].get("bad_record", 0) == 2


@pytest.mark.parametrize(
    "name", ["a.csv", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("a.jsonl", "a.json"))]
)
def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path, name: str) -> None:
    rows = [{"url": f"https://a.example/{n}.jpg", "text": f"{n} " + "word " * 100} for n in range(60_000)]
    write = {"a.jsonl": _json_lines, "a.json": lambda some: json.dumps(some).encode(), "a.csv": _table(",")}[name]
    land_bytes(tmp_path, name, write(rows))
    settings = settings_for(tmp_path)
    (piece, *_) = pieces_of(landing_storage(settings), data_files(settings, KEY), 10_000)
    del rows
    tracemalloc.start()
    found = sum(batch.num_rows for batch in read_piece(landing_storage(settings), piece, settings.ingest.columns))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 60_000 and peak < 20 << 20  # the file has 31 MB


def test_a_file_that_cannot_be_divided_is_cleaned_into_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_lines(tmp_path / "landing", [pair(n) for n in range(9000)])
    whole = settings_for(tmp_path, f"warehouse={tmp_path / 'whole'}")
    (expected,) = ingest(whole)
    monkeypatch.setattr(scan, "_BATCHES", 1)
    written = list[int]()
    monkeypatch.setattr(
        scan, "to_parquet", lambda rows, schema, write=scan.to_parquet: written.append(1) or write(rows, schema)
    )
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    assert len(written) == 3 and committed.content == expected.content
    assert len(kept(settings)) == 9000
