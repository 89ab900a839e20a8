"""The lists of what must never come back."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadConfig
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import Matcher, add, digest, matcher, read_lines
from kale_tasks.settings import Settings

URLS = st.text(alphabet=st.characters(codec="utf-8"), max_size=40).map(lambda t: f"https://a.example/{t}")


def law(kind: str, *values: str) -> Matcher:
    return Matcher("x", {kind: frozenset(digest(kind, value) for value in values)})


@given(st.lists(URLS, max_size=8), st.lists(URLS, max_size=8))
def test_every_listed_url_is_matched_and_no_other(listed: list[str], others: list[str]) -> None:
    found = law("url", *listed).matches(pa.table({"uid": listed + others, "url": listed + others})).to_pylist()
    assert all(found[: len(listed)])
    known = {digest("url", url) for url in listed}
    assert found[len(listed) :] == [digest("url", url) in known for url in others]


@pytest.mark.parametrize(("url", "hit"), [
    ("https://example.org/a.jpg", True), ("http://IMG.Example.ORG:8080/b", True), ("https://example.org.x.net/", False),
    ("https://notexample.org/", False), ("http://[broken", False), ("", False),
])  # fmt: skip
def test_a_host_includes_its_subdomains(url: str, hit: bool) -> None:
    assert law("host", "example.org").matches(pa.table({"url": [url]})).to_pylist() == [hit]


@given(st.text(max_size=60))
def test_no_url_of_a_stranger_breaks_the_matcher(url: str) -> None:
    rows = pa.table({"url": pa.array([url, None], pa.string())})
    assert law("host", "example.org").matches(rows).to_pylist()[1] is False
    assert law("url", url).matches(rows).to_pylist() == [True, False]


def test_a_pattern_matches_any_text_in_any_case() -> None:
    rows = pa.table({"alt_text": ["Jane DOE at work", "a tree", None], "caption": ["x", "shows Jane Doe", None]})
    assert Matcher("x", {}, (r"jane\s+doe",)).matches(rows).to_pylist() == [True, True, False]


def test_a_list_of_people_is_read_as_they_write_it() -> None:
    found = read_lines(["# removed on request", "", "a" * 32, "b" * 64, "https://x.example/1.jpg", "x.example",
                        "pattern Jane Doe", "host y.example"])  # fmt: skip
    assert found == {"uid": ["a" * 32], "sha256": ["b" * 64], "url": ["https://x.example/1.jpg"],
                     "host": ["x.example", "y.example"], "pattern": ["Jane Doe"]}  # fmt: skip


@pytest.mark.parametrize("line", ["Jane Doe", "what is this", "a" * 31])
def test_what_names_nothing_is_refused(line: str) -> None:
    with pytest.raises(BadConfig, match="neither"):
        read_lines([line])


def test_a_list_changes_the_content_once_and_holds_no_names(lake: tuple[Lake, Settings]) -> None:
    it, _ = lake
    assert matcher(it) == Matcher()
    add(it, {"url": ["https://x.example/1.jpg"]})
    once = matcher(it)
    add(it, {"url": ["https://x.example/1.jpg#again"]})
    assert matcher(it) == once and once.content
    assert b"x.example" not in b"".join(it.storage.read(e.path) for e in it.storage.entries("takedowns"))
    assert pickle.loads(pickle.dumps(once)) == once


@pytest.mark.parametrize("wanted", [{}, {"uid": []}, {"pattern": ["("]}])
def test_a_list_that_cannot_be_carried_out_is_refused(
    lake: tuple[Lake, Settings], wanted: dict[str, list[str]]
) -> None:
    with pytest.raises(BadConfig):
        add(lake[0], wanted)
