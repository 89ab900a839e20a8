"""What the pages keep: one maker of a value, lists of immutable files, one look at the catalog for each request."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.ui.memory import Memory
from kale_tasks.ui.rows import Rows, TooLong
from tests.quality.world import World, commit, shard_path
from tests.ui.rendered import KEY, OTHER, client, lake, person, uid_of

__all__ = ["client", "lake", "person"]
_READERS = 8
_SEARCHERS = 16


def test_one_thread_makes_a_value_and_the_others_wait_for_it() -> None:
    memory, made, start = Memory(9), Counter[str](), Barrier(_READERS)

    def make() -> int:
        made["value"] += 1
        time.sleep(0.05)
        return 7

    def ask(_: int) -> int:
        start.wait()
        return memory.get("value", 60, make)

    with ThreadPoolExecutor(_READERS) as pool:
        assert list(pool.map(ask, range(_READERS))) == [7] * _READERS
    assert made["value"] == 1


def test_who_waits_for_a_value_that_fails_gets_the_error_once_and_later_ones_try_again() -> None:
    memory, asked, go = Memory(9), Counter[str](), Event()

    def fail() -> int:
        asked["failed"] += 1
        go.wait()
        raise BadData("It took too long.")

    with ThreadPoolExecutor(_READERS) as pool:
        waiting = [pool.submit(memory.get, "value", 60, fail) for _ in range(_READERS)]
        time.sleep(0.1)
        go.set()
        assert {str(one.exception()) for one in waiting} == {"It took too long."}
    assert asked["failed"] == 1
    assert memory.get("value", 60, lambda: 8) == 8


def test_an_old_value_is_made_again_and_the_memory_stays_small() -> None:
    memory = Memory(200)
    assert memory.get("value", 60, lambda: 1) == 1
    assert memory.get("value", 60, lambda: 2) == 1
    assert memory.get("value", 0, lambda: 3) == 3
    for number in range(1000):
        memory.get(number, 60, lambda: 0)
    assert memory.get("value", 60, lambda: 4) == 4, "the oldest were forgotten"


@pytest.mark.parametrize("asked", ["", "&q=lighthouse", "&sort=longest"])
def test_a_list_is_shown_again_without_its_files_until_something_is_committed(
    lake: Lake, client: TestClient, asked: str
) -> None:
    path, files = f"/captions?key={OTHER}&stage=1{asked}", lake.files("captions", OTHER, {"recipe": "kale", "stage": 1})
    shown = client.get(path).text
    full = lake.storage.uri(files[0].path)
    os.rename(full, f"{full}.away")
    try:
        assert client.get(path).text == shown
        assert client.get(f"{path}&uid=0").status_code == 409, "another list needs the file"
    finally:
        os.rename(f"{full}.away", full)
    first = re.findall(r"/images/2026-11-02/([0-9a-f]{32})", shown)[0]
    commit(lake, World(OTHER, seed=7, pairs=60), "fuse", lambda rows: [row for row in rows if row["uid"] != first])
    assert first not in client.get(path).text, "what is not committed any more is never shown"
    commit(lake, World(OTHER, seed=7, pairs=60), "fuse")


def test_a_question_that_takes_too_long_is_stopped(lake: Lake) -> None:
    rows = Rows(lake)
    tables = {"captions": ("captions", rows.files("captions", KEY))}
    with pytest.raises(TooLong, match="was stopped"):
        rows.ask("SELECT count(*) FROM captions, range(10_000_000_000)", {}, tables, 0.1)


def test_a_request_loads_no_table_that_has_not_changed(
    client: TestClient, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counter[str]()
    load = Lake._load
    monkeypatch.setattr(Lake, "_load", lambda self, name: (asked.update([name]), load(self, name))[1])
    for path in (f"/captions?key={KEY}", f"/rows/{KEY}/{uid_of(lake)}", f"/images/{KEY}/{uid_of(lake)}"):
        client.get(path)
        asked.clear()
        assert client.get(path).status_code == 200
        assert not asked, path


@pytest.mark.nightly
def test_a_sorted_list_does_not_make_way_for_pages(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counter[str]()
    ask = Rows.ask
    monkeypatch.setattr(Rows, "ask", lambda self, *a, **k: (asked.update(["asked"]), ask(self, *a, **k))[1])
    path = f"/captions?key={KEY}&sort=longest"
    shown = client.get(path).text
    for number in range(220):
        client.get(f"/captions?key={KEY}&after=kale/1/{number:032x}")
    asked.clear()
    assert client.get(path).text == shown
    assert not asked


def test_a_small_picture_is_shown_again_without_its_file_until_something_is_committed(
    lake: Lake, client: TestClient
) -> None:
    uid = uid_of(lake, 9, key=OTHER)
    path = f"/images/{OTHER}/{uid}"
    shown = client.get(f"{path}?size=100")
    assert shown.headers["content-type"] == "image/jpeg"
    full = lake.storage.uri(shard_path(OTHER))
    os.rename(full, f"{full}.away")
    try:
        assert client.get(f"{path}?size=100").content == shown.content
        assert client.get(f"{path}?size=101").headers["content-type"] == "image/svg+xml", "another size needs the file"
    finally:
        os.rename(f"{full}.away", full)
    world = World(OTHER, seed=7, pairs=60)
    commit(lake, world, "images", lambda rows: [row for row in rows if row["uid"] != uid])
    assert client.get(f"{path}?size=100").status_code == 404, "what is not committed any more is never shown"
    commit(lake, world, "images")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, list[str]]]:
    """Questions that search for a word wait for this event; the words in the order in which they were asked."""
    go, asked, ask = Event(), list[str](), Rows.ask

    def wait(rows: Rows, query: str, values: Mapping[str, Any], *more: Any) -> list[dict[str, Any]]:
        if "q" in values:
            asked.append(values["q"])
            assert go.wait(20)
        return ask(rows, query, values, *more)

    monkeypatch.setattr(Rows, "ask", wait)
    yield go, asked
    go.set()


def test_pages_are_answered_while_searches_take_all_their_turns_and_those_come_in_order(
    lake: Lake, client: TestClient, held: tuple[Event, list[str]]
) -> None:
    go, asked = held
    words = [f"zebra{number}" for number in range(_SEARCHERS)]
    with ThreadPoolExecutor(_SEARCHERS + 1) as pool:
        searches = []
        for word in words:
            searches.append(pool.submit(client.get, f"/captions?key={KEY}&stage=1&q={word}"))
            time.sleep(0.05)
        assert 0 < len(asked) < _SEARCHERS / 2, "most of them wait"
        for path in (f"/captions?key={KEY}", f"/rows/{KEY}/{uid_of(lake)}", f"/images/{KEY}/{uid_of(lake)}", "/models"):
            assert pool.submit(client.get, path).result(30).status_code == 200, path
        go.set()
        assert {search.result(30).status_code for search in searches} == {200}
    # Those that are let go together may overtake one another; who came last is not answered before who came first.
    assert all(abs(words.index(word) - place) < _SEARCHERS / 2 for place, word in enumerate(asked))
