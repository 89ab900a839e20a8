"""Opt-outs: robots.txt, tdmrep.json and response headers."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from kale_tasks.images.opt_out import (
    PathRule,
    SiteRules,
    check_headers,
    fetch_site_rules,
    parse_robots,
    parse_tdmrep,
)
from kale_tasks.images.rate_limit import Alone, HostLimit
from kale_tasks.images.reasons import ImageError
from kale_tasks.images.web import WebClient
from tests.images.world import settings

_FOR_ALL = "User-agent: *\n"


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a.jpg", True),
        (_FOR_ALL + "Disallow:", "/a.jpg", True),
        (_FOR_ALL + "Disallow: /", "/a.jpg", False),
        (_FOR_ALL + "Disallow: /b", "/a.jpg", True),
        (_FOR_ALL + "Disallow: /img\nAllow: /img/open", "/img/open/a.jpg", True),
        (_FOR_ALL + "Allow: /img\nDisallow: /img", "/img/a.jpg", True),
        (_FOR_ALL + "Disallow: /*.gif$", "/a.gif", False),
        (_FOR_ALL + "Disallow: /*.gif$", "/a.gif?x=1", True),
        (_FOR_ALL + "Disallow: /a*b*c", "/axxbyyc.jpg", False),
        (_FOR_ALL + "Disallow: /%7Euser", "/~user/a.jpg", False),
        ("User-agent: kale\nDisallow: /\n\n" + _FOR_ALL + "Allow: /", "/a.jpg", False),
        ("User-agent: KALE/2.0\nAllow: /\n\n" + _FOR_ALL + "Disallow: /", "/a.jpg", True),
        ("User-agent: other\nDisallow: /", "/a.jpg", True),
        ("User-agent: other\nUser-agent: *\nDisallow: /", "/a.jpg", False),
        ("\ufeffuser-AGENT : * # all\r\ndisallow : / # none", "/a.jpg", False),
        ("<html>not found</html>", "/a.jpg", True),
    ],
)
def test_robots_txt_allows_or_disallows_a_path(text: str, path: str, allowed: bool) -> None:
    assert parse_robots(text).allows(path) is allowed


def test_the_crawl_delay_of_our_group_is_used() -> None:
    assert parse_robots("User-agent: *\nCrawl-delay: 9\n\nUser-agent: kale\nCrawl-delay: 2.5").delay == 2.5


@given(st.text(max_size=300), st.text(alphabet="ab/*$%.", max_size=40))
def test_any_text_can_be_parsed(text: str, path: str) -> None:
    parse_robots(text).allows(f"/{path}")
    parse_tdmrep(text).allows(f"/{path}")


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab", max_size=12))
def test_a_star_matches_anything(pattern: str, path: str) -> None:
    found = PathRule(f"/{pattern}$", allow=False).expression.match(f"/{path}") is not None
    assert found is _matches(pattern, path)


def test_no_pattern_takes_exponential_time() -> None:
    began = time.thread_time()
    PathRule("/" + "*a" * 1000 + "b$", allow=False).expression.match("/" + "a" * 2000)
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ('[{"location": "/a", "tdm-reservation": 1}]', False),
        ('[{"location": "/*", "tdm-reservation": 1, "tdm-policy": "https://example.org"}]', False),
        ('[{"location": "/", "tdm-reservation": 1}, {"location": "/a", "tdm-reservation": 0}]', True),
        ('{"location": "/a", "tdm-reservation": 1}', False),
        ('[{"location": "/b", "tdm-reservation": 1}, 3, null, {"location": 7}]', True),
        ("not json", True),
    ],
)
def test_tdmrep_json_reserves_paths(text: str, allowed: bool) -> None:
    assert parse_tdmrep(text).allows("/a.jpg") is allowed


@pytest.mark.parametrize(
    "tag",
    [
        "noai",
        "NoImageAI",
        "noindex, noml",
        "kale: noai",
        "*: noai",
        "KALE: noindex, noai",
        "noai, max-image-preview:large",
        "noindex, max-image-preview:none, noai",
        "max-snippet:-1, noai",
        "max-image-preview: large, noai, noimageai",
        "noai, unavailable_after: 25 Jun 2030 15:00:00 PST",
        "unavailable_after: 25 Jun 2030 15:00:00 PST, noai",
        "unavailable_after: Tuesday, 25-Jun-30 15:00:00 GMT, noai",
        "kale: noai, max-snippet:-1",
        "kale: max-snippet:20, noai",
        "kale: noai, googlebot: all",
        "googlebot: all, kale: noai",
        "googlebot: noindex, kale: noai",
        "noai, googlebot: nofollow",
        "NOAI;NOIMAGEAI",
    ],
)
def test_an_opt_out_in_x_robots_tag_is_honoured(tag: str) -> None:
    with pytest.raises(ImageError, match="noai"):
        check_headers(CIMultiDict({"X-Robots-Tag": tag}))


@pytest.mark.parametrize(
    "tag",
    [
        "noindex",
        "otherbot: noai",
        "otherbot: noindex, noai",
        "kale: all, otherbot: max-snippet:1, noai",
        "all",
        "",
        ":",
    ],
)
def test_an_x_robots_tag_without_an_opt_out_for_us_is_ignored(tag: str) -> None:
    check_headers(CIMultiDict({"X-Robots-Tag": tag, "tdm-reservation": "0"}))


def test_an_opt_out_in_any_of_several_headers_is_honoured() -> None:
    with pytest.raises(ImageError, match="noai"):
        check_headers(CIMultiDict([("X-Robots-Tag", "otherbot: all"), ("X-Robots-Tag", "noai")]))


@pytest.mark.parametrize(
    ("tag", "ours"),
    [
        ("noindex", True),
        ("nofollow, NoImageIndex", True),
        ("max-snippet: 20, noindex", True),
        ("noindex, max-image-preview:large", True),
        ("otherbot: noindex", False),
        ("index", False),
    ],
)
def test_noindex_is_honoured_if_the_setting_says_so(tag: str, ours: bool) -> None:
    headers = CIMultiDict({"X-Robots-Tag": tag})
    check_headers(headers)
    with pytest.raises(ImageError, match="noindex") if ours else contextlib.nullcontext():
        check_headers(headers, noindex=True)


@pytest.mark.parametrize("values", [["1"], ["0", "1"], ["1, 1"]])
def test_a_reservation_for_text_and_data_mining_is_honoured(values: list[str]) -> None:
    with pytest.raises(ImageError, match="tdm_reserved"):
        check_headers(CIMultiDict([("TDM-Reservation", value) for value in values]))


@pytest.mark.parametrize("sizes", [[20, 40], [100_000, 90_000, 30], [400_000, 200_000]])
def test_robots_txt_is_read_to_its_end_or_to_the_cap(tmp_path: Path, sizes: list[int]) -> None:
    """The line that disallows is split between the first two pieces."""
    start = b"User-agent: *\n"
    lines = start + b"#" * (sizes[0] - len(start) - 6) + b"\nDisallow: /private\n"
    pieces = [lines[: sizes[0]], lines[sizes[0] :].ljust(sizes[1], b"#"), *(b"#" * size for size in sizes[2:])]
    rules = _site_rules(tmp_path, {"/robots.txt": pieces})
    assert not rules.robots.allows("/private/a.jpg")
    assert rules.robots.allows("/a.jpg")


def test_what_follows_the_cap_of_robots_txt_is_ignored(tmp_path: Path) -> None:
    pieces = [b"User-agent: *\n", b"#" * 600_000, b"\nDisallow: /\n"]
    assert _site_rules(tmp_path, {"/robots.txt": pieces}).robots.allows("/a.jpg")


def test_a_site_that_asks_for_longer_delays_than_we_have_patience_for_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="asks for 120 s between two requests"):
        _site_rules(tmp_path, {"/robots.txt": [b"User-agent: *\nCrawl-delay: 120\n"]})


def test_tdmrep_json_is_read_to_its_end(tmp_path: Path) -> None:
    text = json.dumps([{"location": "/", "tdm-reservation": 1}] + [{"location": "/b", "tdm-reservation": 0}] * 3000)
    pieces = [text[:50].encode(), text[50:].encode()]
    rules = _site_rules(tmp_path, {"/.well-known/tdmrep.json": pieces})
    assert not rules.reserved.allows("/a.jpg")


def _site_rules(tmp_path: Path, files: Mapping[str, Sequence[bytes]]) -> SiteRules:
    """Fetch the rules of a site that sends each file in pieces, with a pause between them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        pieces = files.get(path)
        length = sum(map(len, pieces or ()))
        status = "200 OK" if pieces else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for piece in pieces or ():
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    async def fetch() -> SiteRules:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        origin = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        of = settings(tmp_path).images.fetch
        web = WebClient(of, lambda name, value: None)
        try:
            return await fetch_site_rules(web, HostLimit(of, Alone()), origin, 20)
        finally:
            await web.close()
            server.close()

    return asyncio.run(fetch())


def _matches(pattern: str, path: str) -> bool:
    """Match a pattern with `*` in the slow and obvious way."""
    if not pattern:
        return not path
    if pattern[0] == "*":
        return _matches(pattern[1:], path) or (bool(path) and _matches(pattern, path[1:]))
    return bool(path) and pattern[0] == path[0] and _matches(pattern[1:], path[1:])
