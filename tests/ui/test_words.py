"""Searches of large keys read only the row groups whose words allow what is searched for, and find the same rows."""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from kale_tasks.errors import BadData
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.process import SCRATCH
from kale_tasks.ui import words
from kale_tasks.ui.app import make_app
from kale_tasks.ui.rows import Rows
from kale_tasks.ui.site import Site
from kale_tasks.ui.words import Index, Words
from tests.quality.world import World, commit, open_world
from tests.ui.people import Person
from tests.ui.rendered import KEY

_GROUP, _ROWS = 20, 600
_SYLLABLES = ["ba", "Lo", "ri", "ÉT", "ß", "ün", "mer", "ka", "-", ".", "7", "塔", "İ", "\n", "\t", "%", "_", "'"]
# The numbers of the texts that a search finds.
_MATCHES = """SELECT list(n) FROM (SELECT unnest(?::VARCHAR[]) AS text, unnest(range(600)) AS n)
WHERE contains(lower(text), lower(?))"""


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(str(tmp_path))


def _write(storage: FolderStorage, texts: list[str | None], name: str = "part.parquet") -> DataFile:
    uids = [f"{number:032x}" for number in range(len(texts))]
    rows = pa.table({"uid": uids, "caption": pa.array(texts, pa.string())})
    pq.write_table(rows, Path(storage.root, name), row_group_size=_GROUP)
    return DataFile(name, len(texts), uids[0], uids[-1])


def _text(draw: random.Random) -> str:
    made = ["".join(draw.choices(_SYLLABLES, k=draw.randint(0, 4))) for _ in range(draw.randint(1, 8))]
    return " ".join(made)


@pytest.mark.parametrize("seed", range(4))
def test_no_row_group_that_has_a_text_is_left_out(seed: int, storage: FolderStorage) -> None:
    draw = random.Random(seed)
    texts = [_text(draw) if draw.random() < 0.9 else None for _ in range(_ROWS)]
    index = Index(storage, [_write(storage, texts)], "caption")
    known = [text for text in texts if text]
    left_out = 0
    for _ in range(150):
        text = draw.choice(known)
        start = draw.randrange(len(text))
        asked = text[start : start + draw.randint(1, 12)] if draw.random() < 0.8 else _text(draw)
        have = {n // _GROUP for n in duckdb.execute(_MATCHES, [texts, asked]).fetchall()[0][0] or ()}
        found = {int(block.first, 16) // _GROUP for block in index.find(asked)}
        assert have <= found, asked
        left_out += _ROWS // _GROUP - len(found)
    assert left_out > 150, "it leaves row groups out"
    index.close()


def test_a_text_that_no_caption_has_reads_nothing(storage: FolderStorage) -> None:
    file = _write(storage, ["A red barn beside the road", "a white tower"] * 50)
    index = Index(storage, [file], "caption")
    assert index.find("zebra") == index.find("red ships") == index.find("barn  beside") == []
    assert len(index.find("AR")) == len(index.find("d barn b")) == len(index.find(" ")) == 5


def test_an_index_is_written_once_and_not_for_each_row_group(storage: FolderStorage) -> None:
    file, written = _write(storage, ["a red barn"] * _ROWS), psutil.Process().io_counters
    before = written().write_count
    index = Index(storage, [file], "caption")
    assert written().write_count - before < _ROWS / _GROUP
    index.close()


def test_files_without_bounds_have_no_index(storage: FolderStorage, tmp_path: Path) -> None:
    rows = pa.table({"uid": ["0" * 32], "caption": ["a barn"]})
    pq.write_table(rows, tmp_path / "bare.parquet", write_statistics=False)
    with pytest.raises(BadData, match="row groups"):
        Index(storage, [DataFile("bare.parquet", 1, "", "")], "caption")


def test_an_index_is_deleted_when_its_files_are_no_longer_the_committed_ones(
    storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_LEAST", 0)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    known, old = Words(storage), _write(storage, ["a secret name"] * 100, "old.parquet")
    _made(known, [old], "secret")
    new = _write(storage, ["a name"] * 100, "new.parquet")
    _made(known, [new], "secret")
    assert known.blocks("place", [new], "caption", "secret") == []
    opened = [os.readlink(one.path) for one in os.scandir("/proc/self/fd") if os.path.islink(one.path)]
    (kept,) = [name for name in opened if name.startswith(str(temporary))]
    assert kept.endswith(" (deleted)"), "only the second index is left, and it ends with the process"
    assert not list(temporary.iterdir())


def test_what_a_killed_process_leaves_is_deleted_by_maintenance(tmp_path: Path) -> None:
    code = (
        "import os, signal; from kale_tasks.lake.storage.folder import FolderStorage; from kale_tasks.ui import words\n"
        "words.sql = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"words.Index(FolderStorage({str(tmp_path)!r}), [], 'caption')"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)}, check=False)
    left = [path.name for path in temporary.iterdir()]
    assert done.returncode == -signal.SIGKILL and left and all(name.startswith(SCRATCH) for name in left)


def _made(known: Words, files: list[DataFile], text: str) -> None:
    assert known.blocks("place", files, "caption", text) is None, "the first one does not wait"
    known._known["place", "caption"][1].result(30)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A key whose files have many row groups."""
    made = open_world(tmp_path_factory.mktemp("words"), **{"parts.part_rows": 30})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kale_tasks.lake.parts.GROUP_ROWS", 10)
        for step in ("ingest", "images", "dense-0123456789ab", "fuse", "student"):
            commit(made, World(KEY, pairs=400), step)
    return made


def _pages(lake: Lake) -> tuple[Site, TestClient]:
    variables = {"KALE_WAREHOUSE": lake.settings.warehouse, "KALE_LANDING": lake.settings.landing}
    site = Site(lambda: variables, Person())
    return site, TestClient(make_app(site))


def _uids(pages: TestClient, asked: str) -> list[str]:
    answer = pages.get(f"/captions?key={KEY}&{asked}")
    assert answer.status_code == 200
    return re.findall(rf"/images/{KEY}/([0-9a-f]{{32}})", answer.text)


def test_a_search_finds_the_same_rows_with_an_index(large: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    _, pages = _pages(large)
    texts = [str(row["alt_text"]) for row in World(KEY, pairs=400).stage1[5::29]]
    rare = [name for text in texts for name in re.findall(r"at (\w+),", text)]
    asked = [f"q={text}&within=alt_text" for text in (*rare, f"{rare[0][1:]}%2C")] + ["q=zebra", "q=tower"]
    asked += [f"{one}&stage=1&sort=longest" for one in asked]
    expected = {one: _uids(pages, one) for one in asked}
    assert len(rare) > 4 and all(expected[one] for one in asked[: len(rare)])

    monkeypatch.setattr(words, "_LEAST", 0)
    narrowed = []
    find = Index.find
    monkeypatch.setattr(Index, "find", lambda self, text: (narrowed.append(find(self, text)), narrowed[-1])[1])
    site, pages = _pages(large)
    for column in ("alt_text", "caption"):
        _uids(pages, f"q=first&within={column}")
    for _, index in site.open().rows.words._known.values():
        index.result(30)
    assert {one: _uids(pages, one) for one in asked} == expected
    assert sum(0 < len(found) < 4 for found in narrowed) >= len(rare), "only some row groups were read"


def test_while_an_index_is_made_one_search_reads_every_row_and_those_that_wait_use_the_index(
    large: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_LEAST", 0)
    indexed, read, whole = Event(), Event(), list[str]()
    make, ask = Words._make, Rows.ask

    def make_later(known: Words, *files: Any) -> Index:
        assert indexed.wait(20)
        return make(known, *files)

    def ask_later(rows: Rows, query: str, values: Mapping[str, Any], *more: Any) -> list[dict[str, Any]]:
        if "q" in values and "first" not in values:
            whole.append(values["q"])
            assert read.wait(20)
        return ask(rows, query, values, *more)

    monkeypatch.setattr(Words, "_make", make_later)
    monkeypatch.setattr(Rows, "ask", ask_later)
    site, pages = _pages(large)
    with pages, ThreadPoolExecutor(8) as pool:
        found = [pool.submit(_uids, pages, f"q=zebra{number}&stage=1") for number in range(8)]
        time.sleep(0.5)  # until all have come
        indexed.set()
        ((_, index),) = site.open().rows.words._known.values()
        index.result(30)
        read.set()
        assert [one.result(30) for one in found] == [[]] * 8
    assert len(whole) == 1
