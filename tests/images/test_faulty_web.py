"""The images step on the sample web: how every fault ends, and that the web's log shows polite requests."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.faulty import ENDS, HOSTS, NEVER_ASKED, address, ends, faulty_web, seen
from tests.images.world import images, lake_with, pairs_of, settings, uid

RATE = 50
Seen = list[dict[str, Any]]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], dict[str, str], Seen]]:
    """How each URL ends at first and after a redrive, and the requests of the first run."""
    root: Path = tmp_path_factory.mktemp("faulty")
    of = settings(root, "images.fetch.tries=1", "images.fetch.seconds=20", f"images.fetch.host_rate={RATE}")
    with faulty_web() as base:
        urls = {address(base, fault, i): fault for i, fault in enumerate([*ENDS] * 4)}
        lake = lake_with(of, pairs_of(list(urls)))
        first = images(lake, of)
        log = seen(base)
        second = images(lake, of, again="again")
    yield *({url: rows[uid(url)]["reason"] or "ok" for url in urls} for rows in (first, second)), log


@pytest.mark.parametrize("fault", ENDS)
@pytest.mark.parametrize("again", [False, True], ids=["first", "redrive"])
def test_each_fault_ends_with_its_reason(fault: str, again: bool, tried: Any) -> None:
    assert {end for url, end in tried[again].items() if f"/{fault}/" in url} == {ends(fault, again)}


def test_opt_out_files_are_requested_before_anything_else_of_a_host(tried: Any) -> None:
    first: dict[str, list[str]] = defaultdict(list)
    for one in tried[2]:
        first[one["host"]].append(one["path"])
    asked = {host: paths for host, paths in first.items() if paths[0] != "/bomb/0/2026-11-01/00000000.jpg"}
    assert len(asked) >= HOSTS - 1
    assert {tuple(paths[:2]) for paths in asked.values()} == {("/robots.txt", "/.well-known/tdmrep.json")}
    assert {paths.count("/robots.txt") for paths in first.values()} == {1}


def test_images_whose_owner_opted_out_are_never_requested(tried: Any) -> None:
    assert not [one for one in tried[2] if one["path"].split("/")[1] in NEVER_ASKED]


def test_no_host_receives_more_requests_than_its_limit(tried: Any) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    for one in tried[2]:
        times[one["host"]].append(one["at"])
    for asked in times.values():
        assert all(sum(start <= at < start + 1 for at in asked) <= RATE * 1.25 + 1 for start in asked)
