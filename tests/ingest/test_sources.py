"""All formats of landing files give the same pairs; broken files and records are quarantined and cost nothing else."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from kale_tasks.errors import BadData
from kale_tasks.ingest.coerce import column
from kale_tasks.ingest.pieces import data_files, pieces_of
from kale_tasks.ingest.sources import read_piece
from kale_tasks.lake.columns import BOXES
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.tables import Lake
from tests.ingest.world import KEY, Record, balanced, ingest, kept, land, land_lines, pair, settings_for, texts

ROWS = [pair(n, original_width=640 + n, original_height=480, sha256=f"{n:064x}") for n in range(30)]
ROWS[3]["text"] = 'A "quoted", comma-ridden view\nof the old harbour\tat dawn'


def _json_lines(rows: list[Record]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _table(delimiter: str) -> Callable[[list[Record]], bytes]:
    def written(rows: list[Record]) -> bytes:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()

    return written


def _tar(rows: list[Record]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, row in enumerate(rows):
            for suffix, content in (("jpg", b"\xff\xd8picture"), ("txt", b"text"), ("json", json.dumps(row).encode())):
                member = tarfile.TarInfo(f"{number:09}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _parquet(rows: list[Record]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def _laion(rows: list[Record]) -> bytes:
    names = {"url": "URL", "text": "TEXT", "original_width": "WIDTH", "original_height": "HEIGHT", "sha256": "sha256"}
    return _parquet([{names[name]: value for name, value in row.items()} for row in rows])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.parquet", _parquet),
        ("a.parquet.gz", lambda rows: gzip.compress(_parquet(rows))),
        ("laion.parquet", _laion),
        ("a.jsonl", _json_lines),
        ("a.ndjson", _json_lines),
        ("A.PARQUET", _parquet),
        ("a.jsonl.gz", lambda rows: gzip.compress(_json_lines(rows))),
        ("a.jsonl.zst", lambda rows: zstandard.compress(_json_lines(rows))),
        ("a.csv", _table(",")),
        ("a.csv.bz2", lambda rows: bz2.compress(_table(",")(rows))),
        ("a.tsv.xz", lambda rows: lzma.compress(_table("\t")(rows))),
        ("a.tar", _tar),
        ("a.tar.gz", lambda rows: gzip.compress(_tar(rows))),
    ],
)
def test_every_format_gives_the_same_pairs(tmp_path: Path, name: str, write: Callable[[list[Record]], bytes]) -> None:
    path = tmp_path / "landing" / KEY / name
    path.parent.mkdir(parents=True)
    path.write_bytes(write(ROWS))
    settings = settings_for(tmp_path)
    ingest(settings)
    found = {(r["url"], r["alt_text"], r["width"], r["height"], r["sha256"], r["source"]) for r in kept(settings)}
    assert found == {(r["url"], r["text"], r["original_width"], r["original_height"], r["sha256"], name) for r in ROWS}


def test_files_of_one_key_may_differ_in_column_names_and_types(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    land(landing, [pair(1, original_width="640", similarity=0.3)], name="a")
    land(landing, [{"URL": pair(2)["url"], "TEXT": pair(2)["text"], "WIDTH": 640.0, "extra": [1]}], name="b")
    land_lines(landing, [pair(3, original_width="wide"), pair(4, face_bboxes=[[0, 0, 0.5, 1]])], name="c")
    settings = settings_for(tmp_path)
    ingest(settings)
    rows = {r["url"]: r for r in kept(settings)}
    assert [rows[pair(n)["url"]]["width"] for n in (1, 2, 3, 4)] == [640, 640, None, None]
    assert rows[pair(1)["url"]]["clip_b32"] == 0.3
    assert rows[pair(4)["url"]]["face_boxes"] == [[0, 0, 0.5, 1]]


@pytest.mark.parametrize("value", ["[[0.1 0.1 0.2 0.2]]", "no list", '[{"x": 1}]', "[[1, 2], [3]]x"])
def test_face_boxes_that_cannot_be_read_do_not_count_as_no_faces(value: str) -> None:
    (found,) = column([value], BOXES, 1).to_pylist()
    assert found == [[]]


def test_a_flat_list_of_four_numbers_is_one_face_box() -> None:
    values = ["[0.1, 0.1, 0.2, 0.2]", "[]", None]
    assert column(values, BOXES, 3).to_pylist() == [[[0.1, 0.1, 0.2, 0.2]], [], None]


def test_a_broken_file_is_quarantined_and_the_others_are_ingested(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    land(landing, [pair(n) for n in range(5)], name="good")
    (landing / KEY / "broken.parquet").write_bytes(b"PAR1 no such luck")
    whole = gzip.compress(_json_lines([pair(n) for n in range(5, 9)]))
    (landing / KEY / "cut.jsonl.gz").write_bytes(whole[:-12])
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    assert balanced(committed)
    found = Lake(settings).arrow("quarantine", KEY).to_pylist()
    assert {(q["reason"], q["detail"].split(":")[0]) for q in found} == {
        ("broken_file", "broken.parquet"),
        ("broken_file", "cut.jsonl.gz"),
    }
    assert committed.rows >= 5


def test_a_record_that_cannot_be_parsed_is_quarantined_alone(tmp_path: Path) -> None:
    path = land_lines(tmp_path / "landing", [pair(1), pair(2)])
    lone_surrogate = b'{"url": "https://pictures.example/8.jpg", "text": "a half \\ud83d of a sign"}'
    with path.open("ab") as file:
        file.write(b'{"url": "https://x.example/a.jpg", "text": "torn\n[1, 2]\n' + lone_surrogate + b"\n")
        file.write(b'{"url": "https://x.example/b.jpg", "text": "latin \xe9t\xe9 text"}\n' + b"[" * 100_000 + b"\n")
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    reasons = sorted(Lake(settings).arrow("quarantine", KEY)["reason"].to_pylist())
    assert (committed.rows, committed.rows_in) == (2, 7)
    assert reasons == ["bad_record", "bad_record", "bad_record", "bad_record", "not_utf8"]


def test_invalid_utf8_is_quarantined_in_parquet_too(tmp_path: Path) -> None:
    path = tmp_path / "landing" / KEY / "a.parquet"
    path.parent.mkdir(parents=True)
    bad = pa.array([b"a caf\xe9 by the sea", b"a house by the sea"]).view(pa.string())
    pq.write_table(pa.table({"url": [pair(1)["url"], pair(2)["url"]], "text": bad}), path)
    settings = settings_for(tmp_path)
    ingest(settings)
    assert texts(settings) == ["a house by the sea"]
    assert Lake(settings).arrow("quarantine", KEY)["reason"].to_pylist() == ["not_utf8"]


def test_a_tar_next_to_a_table_of_the_same_stem_is_not_read(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1)], name="00000")
    (tmp_path / "landing" / KEY / "00000.tar").write_bytes(_tar([pair(2)]))
    (tmp_path / "landing" / KEY / "00000_stats.json").write_text("{}")
    (tmp_path / "landing" / KEY / "_SUCCESS.csv").write_text("url,text\n")
    settings = settings_for(tmp_path)
    assert ingest(settings)[0].rows_in == 1


@pytest.mark.parametrize("folder", ["_temporary/0", ".ipynb_checkpoints"])
def test_rows_of_hidden_folders_are_not_ingested(tmp_path: Path, folder: str) -> None:
    land(tmp_path / "landing", [pair(1)])
    settings = settings_for(tmp_path)
    (before,) = ingest(settings)
    land(tmp_path / "landing", [pair(2)], name=f"{folder}/part-0")
    (after,) = ingest(settings)
    assert (after.rows_in, after.fingerprint) == (1, before.fingerprint)


def test_the_error_for_a_key_without_files_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no landing files for 2026-11-01 in .*landing"):
        ingest(settings_for(tmp_path))


def test_a_key_without_rows_is_committed_empty(tmp_path: Path) -> None:
    land_lines(tmp_path / "landing", [])
    (committed,) = ingest(settings_for(tmp_path))
    assert (committed.rows_in, committed.rows) == (0, 0)


def test_limit_takes_the_first_rows_of_the_files_in_order(tmp_path: Path) -> None:
    for number in range(4):
        rows = [pair(n) for n in range(number * 10, number * 10 + 10)]
        land(tmp_path / "landing", rows, name=f"{number}")
    settings = settings_for(tmp_path, "limit=15", "ingest.piece_rows=3")
    (committed,) = ingest(settings)
    assert (committed.rows_in, texts(settings)) == (15, sorted(pair(n)["text"] for n in range(15)))


def land_bytes(folder: Path, name: str, content: bytes) -> None:
    """Write a landing file, beside one with a good row."""
    land(folder / "landing", [pair(900)], name="good")
    path = folder / "landing" / KEY / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def account(folder: Path) -> tuple[int, int, dict[str, int]]:
    """Ingest and return rows in, rows kept and the quarantined rows by reason."""
    settings = settings_for(folder)
    (committed,) = ingest(settings)
    assert balanced(committed)
    reasons = Lake(settings).arrow("quarantine", KEY)["reason"].to_pylist()
    return committed.rows_in, committed.rows, {reason: reasons.count(reason) for reason in sorted(set(reasons))}


@pytest.mark.parametrize("cut", [10, 300, 513, 1024])
def test_a_tar_that_is_cut_is_noticed(tmp_path: Path, cut: int) -> None:
    whole = _tar([pair(n) for n in range(3)]).rstrip(b"\0")
    land_bytes(tmp_path, "a.tar", whole[: len(whole) // 512 * 512 - 2048 + cut])
    assert account(tmp_path) == (4, 3, {"broken_file": 1})


def test_a_damaged_page_costs_the_rows_of_its_row_group_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "landing" / KEY / "a.parquet"
    path.parent.mkdir(parents=True)
    rows = pa.Table.from_pylist([pair(n) for n in range(300)])
    pq.write_table(rows, path, row_group_size=100, compression="none", write_page_checksum=True)
    middle = pq.read_metadata(path).row_group(1).column(1)
    content = bytearray(path.read_bytes())
    at = middle.dictionary_page_offset or middle.data_page_offset
    content[at : at + middle.total_compressed_size] = b"\xff" * middle.total_compressed_size
    path.write_bytes(content)
    assert account(tmp_path) == (300, 200, {"broken_file": 100})


def test_two_columns_of_one_name_do_not_stop_a_key(tmp_path: Path) -> None:
    columns = [pa.array([pair(1)["url"]]), pa.array([pair(1)["text"]]), pa.array(["another"])]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, names=["url", "text", "text"]), buffer)
    land_bytes(tmp_path, "a.parquet", buffer.getvalue())
    assert account(tmp_path) == (2, 2, {})


def test_the_first_column_that_has_a_value_counts(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1, text=None, caption=pair(1)["text"]), pair(2, caption="other")])
    settings = settings_for(tmp_path)
    ingest(settings)
    assert texts(settings) == sorted(pair(n)["text"] for n in (1, 2))


def test_a_binary_digest_is_read_and_a_wrong_one_costs_nothing(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1, sha256=bytes(range(200, 232))), pair(2, sha256=b"\xff\xfe")])
    settings = settings_for(tmp_path)
    ingest(settings)
    found = {row["url"]: row["sha256"] for row in kept(settings)}
    assert found == {pair(1)["url"]: bytes(range(200, 232)).hex(), pair(2)["url"]: None}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", b"https://a.example/1.jpg,A view of the sea\nhttps://a.example/2.jpg,B\n", "https://a.example/1.jpg"),
        ("a.csv", b"url;text\nhttps://a.example/1.jpg;A view\n", "found: url;text"),
        ("a.parquet", _parquet([{"address": "x", "text": "y"}]), "found: address, text"),
    ],
)
def test_a_file_without_the_columns_is_named_with_those_it_has(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    land_bytes(tmp_path, name, content)
    assert account(tmp_path) == (2, 1, {"no_columns": 1})
    (row,) = Lake(settings_for(tmp_path)).arrow("quarantine", KEY).to_pylist()
    assert name in row["detail"] and found in row["detail"]


def test_a_line_that_is_too_long_is_one_bad_record(tmp_path: Path) -> None:
    long = json.dumps(pair(1, text="word " * 900_000)).encode()
    land_bytes(tmp_path, "a.jsonl", long + b"\n" + _json_lines([pair(2)]))
    assert account(tmp_path) == (3, 2, {"bad_record": 1})


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.parquet.gz"])
def test_a_file_that_unpacks_to_far_more_is_read_in_bounded_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kale_tasks.ingest.sources._UNPACKED_BYTES", 1 << 24)
    land_bytes(tmp_path, name, gzip.compress(b"a" * (1 << 27), 1))
    settings = settings_for(tmp_path)
    landing = landing_storage(settings)
    (piece, *_) = pieces_of(landing, data_files(settings, KEY), 1000)
    tracemalloc.start()
    batches = list(read_piece(landing, piece, settings.ingest.columns))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 26
    assert all(reason for batch in batches for reason in batch["reason"].to_pylist())
