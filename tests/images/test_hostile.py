"""Responses of hostile servers: each ends in its reason, and nothing internal is reached."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest
from yarl import URL

from kale_tasks.images.fetch import ImageFetcher
from kale_tasks.images.reasons import ImageError
from kale_tasks.images.web import WebClient
from kale_tasks.lake.shards import read_image
from tests.images.dns import name_server
from tests.images.hostile import Hostile, hostile_server
from tests.images.world import images, lake_with, pairs_of, settings, uid


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, Hostile, bytes]]:
    """All tricks in one run: by name the reason, the detail, the server afterwards, and the stored bytes."""
    root: Path = tmp_path_factory.mktemp("hostile")
    with hostile_server() as hostile:
        cases = hostile.cases()
        of = settings(
            root,
            "images.fetch.allow=['127.0.0.1/32']",
            "images.fetch.seconds=4",
            "images.fetch.tries=1",
            "images.fetch.max_bytes=4000000",
        )
        lake = lake_with(of, pairs_of([case.url for case in cases]))
        rows = images(lake, of)
    ended = {}
    for case in cases:
        row = rows[uid(case.url)]
        stored = read_image(lake, row["shard"], row["offset"], row["length"]) if row["status"] == "ok" else b""
        ended[case.name] = (row["reason"] or "ok", row["detail"] or "", hostile, stored)
    return ended


@pytest.mark.parametrize("case", Hostile(1, 2).cases(), ids=lambda case: case.name)
def test_every_trick_ends_in_its_reason(case, ended) -> None:  # type: ignore[no-untyped-def]
    assert ended[case.name][0] in case.right, ended[case.name][1]


def test_there_are_at_least_a_hundred_tricks() -> None:
    assert len(Hostile().cases()) >= 100


def test_the_internal_service_is_never_reached(ended) -> None:  # type: ignore[no-untyped-def]
    assert ended["honest"][2].inside_hits == []


def test_a_stored_image_contains_no_appended_data(ended) -> None:  # type: ignore[no-untyped-def]
    stored = ended["jpeg that is a zip"][3]
    assert stored.startswith(b"\xff\xd8")
    assert stored.endswith(b"\xff\xd9")
    assert b"payload" not in stored


def test_names_with_private_addresses_are_refused_and_dns_rebinding_has_no_effect(tmp_path: Path) -> None:
    with hostile_server() as hostile, name_server() as names:
        names.known = {
            "inside.test": ["127.0.0.2"],
            "metadata.test": ["169.254.169.254"],
            "rebinding.test": ["127.0.0.1", "127.0.0.2"],  # public at first, private at a second look-up
        }
        urls = [f"http://{name}:{hostile.inside_port}/a.jpg" for name in ("inside.test", "metadata.test")]
        urls += [f"http://rebinding.test:{hostile.port}/{name}.jpg" for name in ("honest", "many-frames")]
        of = settings(tmp_path, "images.fetch.allow=['127.0.0.1/32']", f"images.fetch.name_servers=['{names.address}']")
        rows = images(lake_with(of, pairs_of(urls)), of)
        assert [rows[uid(url)]["reason"] for url in urls] == ["private_address", "private_address", None, None]
        assert names.asked.count("rebinding.test") == 1
        assert hostile.inside_hits == []


def test_the_socket_itself_refuses_a_private_address(tmp_path: Path) -> None:
    async def ask(url: str) -> None:
        web = WebClient(
            settings(tmp_path, "images.fetch.allow=['127.0.0.1/32']").images.fetch, lambda name, value: None
        )
        try:
            async with web.get(URL(url)):  # without the URL check; literal addresses are not resolved
                pass
        finally:
            await web.close()

    with hostile_server() as hostile:
        asyncio.run(ask(hostile.url("honest")))
        with pytest.raises(ImageError, match="private_address"):
            asyncio.run(ask(f"http://127.0.0.2:{hostile.inside_port}/a.jpg"))
        assert hostile.inside_hits == []


def test_an_unexpected_error_loses_one_image(tmp_path: Path) -> None:
    """No response is known that raises one, so the client is replaced by a function that does."""

    def fail(url: URL, keep: bool) -> NoReturn:
        raise IndexError("of a library")

    async def fetch() -> set[str]:
        of, measured, reasons = settings(tmp_path).images.fetch, [], set()
        web = WebClient(of, lambda name, value: None)
        web.get = fail  # type: ignore[method-assign]
        fetcher = ImageFetcher(of, web, lambda name, value: measured.append(name))
        try:
            for number in range(50):
                async with fetcher.fetch(f"http://host-{number}.test/a.jpg") as response:
                    reasons.add(f"{response.reason} {response.detail}")
        finally:
            await web.close()
        assert measured == ["unexpected_errors"] * 50
        return reasons

    assert asyncio.run(fetch()) == {"bad_response IndexError: of a library"}
