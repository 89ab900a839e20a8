"""What is seen of bad landing files: every line of the table in docs/landing.md is what really happens."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kale_tasks.cli.app import app
from kale_tasks.errors import BadData
from kale_tasks.ingest.look import look_at
from kale_tasks.resources import resource
from tests.ingest.test_sources import _json_lines, _tar
from tests.ingest.world import KEY, land, pair, settings_for

ONE, TWO = pair(1), pair(2)
PAGE = Path(__file__).parents[2] / "docs" / "landing.md"


def lines(*texts: bytes) -> bytes:
    return b"\n".join([*texts, _json_lines([TWO])])


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def twice(name: str) -> bytes:
    buffer = io.BytesIO()
    arrays = [pa.array([ONE["url"]]), pa.array([ONE["text"]]), pa.array(["another text of the same name"])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["url", name, name]), buffer)
    return buffer.getvalue()


def links() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (
            ("../../a.json", tarfile.REGTYPE),
            ("b.json", tarfile.SYMTYPE),
            ("c.json", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            content = json.dumps(ONE).encode() if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def claims() -> bytes:
    buffer, content = io.BytesIO(), json.dumps(ONE).encode()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, size in (("a.json", len(content)), ("b.jpg", 1 << 40)):
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(content) if size == len(content) else None)
    return buffer.getvalue()


def url(address: object) -> bytes:
    return _json_lines([{**ONE, "url": address}])


def text(value: object) -> bytes:
    return _json_lines([{**ONE, "text": value}])


TEXT = [ONE["text"]]
CSV = f"url,text\n{ONE['url']},{ONE['text']}\n"
CASES: list[tuple[str, str, bytes]] = [
    ("Parquet with two columns `text`", "a.parquet", twice("text")),
    ("Parquet without a URL column", "a.parquet", parquet(address=["x"], text=["y"])),
    ("Parquet with a binary sha256", "a.parquet", parquet(url=[ONE["url"]], text=[ONE["text"]], sha256=[b"\xff" * 32])),
    ("Parquet with a dictionary", "a.parquet", parquet(url=pa.array([ONE["url"]]).dictionary_encode(), text=TEXT)),
    ("Parquet with numbers as texts", "a.parquet", parquet(url=[ONE["url"]], text=[7])),
    ("Parquet without rows", "a.parquet", parquet(url=pa.array([], pa.string()), text=pa.array([], pa.string()))),
    ("Parquet that is something else", "a.parquet", b"<html>404</html>"),
    ("Parquet that is cut", "a.parquet", parquet(url=["x"], text=["y"])[:-9]),
    ("an empty file `.parquet`", "a.parquet", b""),
    ("an empty file `.jsonl`", "a.jsonl", b""),
    ("`.PARQUET`", "A.PARQUET", parquet(url=[ONE["url"]], text=[ONE["text"]])),
    ("CSV without a header", "a.csv", CSV.partition("\n")[2].encode() * 2),
    ("CSV with `;`", "a.csv", CSV.replace(",", ";").encode()),
    ("CSV in UTF-16", "a.csv", CSV.encode("utf-16")),
    ("CSV with a byte order mark", "a.csv", CSV.encode("utf-8-sig")),
    ("CSV with a quote that is not closed", "a.csv", CSV.replace(",The", ',"The').encode() + b"x,y\n" * 1500),
    ("CSV with more fields than columns", "a.csv", CSV.encode()[:-1] + b",more,fields\n"),
    ("CSV with fewer fields than columns", "a.csv", b"url,text\n" + ONE["url"].encode() + b"\n"),
    ("CSV with a line above 4 MiB", "a.csv", CSV.encode() + b"x" * (5 << 20)),
    ("JSONL: a torn line", "a.jsonl", lines(b'{"url": "https://x.example/a.jpg", "te')),
    ("JSONL: an array", "a.jsonl", lines(b"[1, 2]")),
    ("JSONL: null", "a.jsonl", lines(b"null")),
    ("JSONL: 100,000 brackets", "a.jsonl", lines(b"[" * 100_000)),
    ("JSONL: half of a character", "a.jsonl", lines(b'{"url": "https://a.example/1.jpg", "text": "a \\ud83d b"}')),
    ("JSONL: Latin-1", "a.jsonl", lines(b'{"url": "https://a.example/1.jpg", "text": "a caf\xe9 by the sea"}')),
    ("JSONL: a byte order mark", "a.jsonl", b"\xef\xbb\xbf" + _json_lines([ONE])),
    ("JSONL: a line above 4 MiB", "a.jsonl", lines(json.dumps({**ONE, "text": "word " * 900_000}).encode())),
    ("JSONL: widths that are no numbers", "a.jsonl", _json_lines([{**ONE, "width": "wide"}, {**TWO, "width": [1]}])),
    ("JSONL: a uid that is none", "a.jsonl", _json_lines([{**ONE, "uid": "x"}])),
    ("a JSON array", "a.json", json.dumps([ONE, TWO], indent=1).encode()),
    ("a JSON array that breaks off", "a.json", json.dumps([ONE, TWO], indent=1).encode()[:-30]),
    ("JSON of columns instead of rows", "a.json", json.dumps({"url": [ONE["url"]], "text": [ONE["text"]]}).encode()),
    ("gzip that is cut", "a.jsonl.gz", gzip.compress(_json_lines([ONE, TWO]))[:-9]),
    ("`.gz` that is not packed", "a.jsonl.gz", _json_lines([ONE])),
    ("gzip of one line of 40 MB", "a.jsonl.gz", gzip.compress(b"a" * 40_000_000, 1)),
    ("a tar that is cut", "a.tar", _tar([ONE, TWO])[:4000]),
    ("a tar with `../`, a link and a pipe", "a.tar", links()),
    ("a tar of which a header claims 1 TiB", "a.tar", claims()),
    ("`.zip`, `.xlsx`", "a.xlsx", b"PK\3\4"),
    ("a hidden file", "_part.jsonl", _json_lines([ONE])),
    ("an address without `https:`", "a.jsonl", url("//a.example/1.jpg")),
    ("an address with `ftp:`", "a.jsonl", url("ftp://a.example/1.jpg")),
    ("an address with `data:`", "a.jsonl", url("data:image/png;base64,AAAA")),
    ("an object as address", "a.jsonl", url({"href": "https://a.example/1.jpg"})),
    ("an address with `[`", "a.jsonl", url("http://[::1/a.jpg")),
    ("a text of HTML tags only", "a.jsonl", text("<br><br/>")),
    ("a text with NUL and direction marks", "a.jsonl", text(f"\0{ONE['text']}\u202e")),
    ("a text above 1,000 characters", "a.jsonl", text("The view of the old harbour of the town. " * 50)),
    ("a list as text", "a.jsonl", text(["one", "two", "three"])),
    ("`text` is null, `caption` is not", "a.jsonl", _json_lines([{**ONE, "text": None, "caption": TWO["text"]}])),
    ("a width below zero", "a.jsonl", _json_lines([{**ONE, "width": -5, "height": 700}])),
]  # fmt: skip


def seen(folder: Path, name: str, content: bytes) -> str:
    """Return in words what becomes of the rows of a file."""
    path = folder / "landing" / KEY / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    try:
        found = look_at(settings_for(folder), KEY, 10_000, 0)
    except BadData:
        return "not seen: `There are no landing files`"
    if found.ignored:
        return "named as not read"
    kept = found.rows - found.dropped.total()
    parts = [f"{kept} kept"] if kept or not found.rows else []
    details = {rule: example.replace("|", "\\|") for rule, example in found.examples.items()}
    named = [
        f"{rows} `{rule}`" + (f" ({details[rule]})" if name in details[rule] else "")
        for rule, rows in sorted(found.dropped.items())
    ]
    return ", ".join([*parts, *named])


@pytest.mark.parametrize(("case", "name", "content"), CASES, ids=[case for case, _, _ in CASES])
def test_the_page_tells_what_is_seen_of_a_bad_file(tmp_path: Path, case: str, name: str, content: bytes) -> None:
    assert f"| {case} | {seen(tmp_path, name, content)} |" in PAGE.read_text().splitlines()


def test_a_loop_of_links_is_no_file(tmp_path: Path) -> None:
    land(tmp_path / "landing", [ONE])
    os.symlink(tmp_path / "landing" / KEY, tmp_path / "landing" / KEY / "loop")
    os.symlink(tmp_path / "nowhere", tmp_path / "landing" / KEY / "gone.parquet")
    assert look_at(settings_for(tmp_path), KEY, 10, 0).rows >= 1


@pytest.fixture
def show(tmp_path: Path) -> Callable[..., str]:
    """Run the command on a landing with a good file, a CSV without header and a spreadsheet."""
    land(tmp_path / "landing", [{**ONE, "extra": 1}, pair(3, text="IMG_2034.jpg")], name="good")
    (tmp_path / "landing" / KEY / "bare.csv").write_bytes(CSV.partition("\n")[2].encode() * 2)
    (tmp_path / "landing" / KEY / "a.xlsx").write_bytes(b"PK")

    def run(*more: str) -> str:
        own = (f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}", "ingest.lists.evaluation=null")
        sets = [word for one in own for word in ("--set", one)]
        result = CliRunner().invoke(app, ["landing", "check", KEY, *sets, *more], catch_exceptions=False)
        assert result.exit_code == 0 and not (tmp_path / "lake").exists()
        return result.stdout

    return run


def test_the_command_shows_columns_first_rows_and_what_would_be_dropped(show: Callable[..., str]) -> None:
    shown = show()
    for part in ("url from url", "extra", "a.xlsx", ONE["text"][:30], "placeholder_text", "no_columns", "Of 3 rows"):
        assert part in shown


def test_the_command_answers_machines_too(show: Callable[..., str]) -> None:
    found = json.loads(show("--json", "--show", "1"))
    assert found["dropped"] == {"no_columns": 1, "placeholder_text": 1}
    assert (found["rows"], found["ignored"], len(found["first"])) == (3, ["a.xlsx"], 1)


def test_the_shipped_patterns_are_there() -> None:
    assert resource("config/ingest/patterns.yaml").is_file()
