"""Tasks of one machine ask a site for its opt-out files once, and hear of a change within an hour."""

import time
from pathlib import Path

import pytest

from kale_tasks.images import site_cache
from kale_tasks.images.site_cache import SiteCache
from kale_tasks.images.step import Images
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.images.plain import plain_server
from tests.images.world import Pairs, pairs_of, settings


def test_two_keys_ask_a_site_once(tmp_path: Path) -> None:
    of = settings(tmp_path)
    lake = Lake(of)
    with plain_server() as server:
        for number, key in enumerate(("2026-11-01", "2026-11-02")):
            execute(Run(Pairs(pairs_of([server.url(10 * number + i) for i in range(5)])), lake, of, key))
            assert execute(Run(Images(), lake, of, key)).rows == 5
    asked = [path for path in server.paths if path.endswith(("robots.txt", "tdmrep.json"))]
    assert len(asked) == len(set(asked)) == 2
    assert server.pictures == 10


def test_a_text_is_kept_for_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SiteCache(tmp_path).put("https://a.example/robots.txt", "")
    assert SiteCache(tmp_path).get("https://a.example/robots.txt") == ""
    assert SiteCache(tmp_path).get("https://b.example/robots.txt") is None
    later = time.time() + site_cache.KEPT_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    assert SiteCache(tmp_path).get("https://a.example/robots.txt") is None


def test_a_very_long_text_is_not_kept(tmp_path: Path) -> None:
    cache = SiteCache(tmp_path)
    cache.put("https://a.example/robots.txt", "#" * 100_000)
    assert cache.get("https://a.example/robots.txt") is None


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100])
def test_a_damaged_database_costs_nothing_but_itself(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sites.sqlite").write_bytes(content)
    cache = SiteCache(tmp_path)
    cache.put("https://a.example/robots.txt", "User-agent: *")
    assert cache.get("https://a.example/robots.txt") in ("User-agent: *", None)


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    cache = SiteCache(tmp_path / "spool")
    cache.put("https://a.example/robots.txt", "")
    assert cache.get("https://a.example/robots.txt") is None
