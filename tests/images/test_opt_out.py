"""What robots.txt and tdmrep.json mean for us."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.images.opt_out import PathRule, check_headers, parse_robots, parse_tdmrep
from kale_tasks.images.reasons import ImageError

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
def test_the_rules_of_a_site(text: str, path: str, allowed: bool) -> None:
    assert parse_robots(text).allows(path) is allowed


def test_a_delay_is_read_from_our_group_only() -> None:
    assert parse_robots("User-agent: *\nCrawl-delay: 9\n\nUser-agent: kale\nCrawl-delay: 2.5").delay == 2.5


@given(st.text(max_size=300), st.text(alphabet="ab/*$%.", max_size=40))
def test_any_text_can_be_read(text: str, path: str) -> None:
    parse_robots(text).allows(f"/{path}")
    parse_tdmrep(text).allows(f"/{path}")


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab", max_size=12))
def test_a_star_is_anything(pattern: str, path: str) -> None:
    found = PathRule(f"/{pattern}$", allow=False).expression.match(f"/{path}") is not None
    assert found is _matches(pattern, path)


def test_no_pattern_is_slow() -> None:
    began = time.perf_counter()
    PathRule("/" + "*a" * 1000 + "b$", allow=False).expression.match("/" + "a" * 2000)
    assert time.perf_counter() - began < 2


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
def test_what_a_site_reserves(text: str, allowed: bool) -> None:
    assert parse_tdmrep(text).allows("/a.jpg") is allowed


@pytest.mark.parametrize("tag", ["noai", "NoImageAI", "noindex, noml", "kale: noai", "*: noai"])
def test_a_head_that_says_no(tag: str) -> None:
    with pytest.raises(ImageError):
        check_headers({}, [tag])


@pytest.mark.parametrize("tag", ["noindex", "otherbot: noai", "all", ""])
def test_a_head_that_says_nothing_to_us(tag: str) -> None:
    check_headers({"tdm-reservation": "0"}, [tag])


def _matches(pattern: str, path: str) -> bool:
    """The meaning of `*`, the slow and obvious way."""
    if not pattern:
        return not path
    if pattern[0] == "*":
        return _matches(pattern[1:], path) or (bool(path) and _matches(pattern, path[1:]))
    return bool(path) and pattern[0] == path[0] and _matches(pattern[1:], path[1:])
