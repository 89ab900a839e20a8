"""The lists of what must never come back."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake import tombstones
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import Matcher, add, digest, matcher, read_lines
from kale_tasks.settings import Settings
from kale_tasks.urls import normal_url

URLS = st.text(alphabet=st.characters(codec="utf-8"), max_size=40).map(lambda t: f"https://a.example/{t}")


_HOSTS = ["example.org", "img.example.org", "a.example"]
_ADDRESSES = [
    f"{scheme}://{host}{rest}"
    for scheme in ("https", "HTTP", "ftp")
    for host in ("example.org", "img.Example.org", "user@example.org", "notexample.org", "example.org.", "a.example:80")
    for rest in ("", "/", "?q", "#f", "/a b", ":8080/x")
]


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


@given(st.lists(st.sampled_from(_ADDRESSES) | URLS | st.none(), max_size=12), st.sampled_from(_HOSTS))
def test_hosts_are_found_as_the_parser_of_urls_finds_them(urls: list[str | None], host: str) -> None:
    rows = pa.table({"url": pa.array(urls, pa.string()), "final_url": pa.array(urls[::-1], pa.string())})
    names = {url: (normal_url(url) or ("", ""))[0] if url else "" for url in urls}
    one = [f".{names[url]}".endswith(f".{host}") for url in urls]
    assert law("host", host).matches(rows).to_pylist() == [a or b for a, b in zip(one, one[::-1], strict=True)]


def test_equal_values_are_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = list[str]()
    listed = Matcher("x", {kind: frozenset({digest(kind, "x.example")}) for kind in ("url", "host")})
    monkeypatch.setattr(tombstones, "digest", lambda kind, value: (hashed.append(value), digest(kind, value))[1])
    urls = [f"https://a.example/{i}" for i in range(50)]
    assert not any(listed.matches(pa.table({"url": urls * 2, "final_url": urls * 2})).to_pylist())
    assert len(hashed) <= 50 + 2


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


def test_a_damaged_list_is_named_and_written_again_by_the_same_takedown(lake: tuple[Lake, Settings]) -> None:
    it, _ = lake
    wanted = {"url": ["https://x.example/1.jpg"]}
    add(it, wanted)
    whole, (path,) = matcher(it), [entry.path for entry in it.storage.entries("takedowns")]
    it.storage.put(path, it.storage.read(path)[:20])
    with pytest.raises(BadData, match=f"{path} is damaged: .* Repeat that takedown with the same list"):
        matcher(it)
    add(it, wanted)
    assert matcher(it) == whole


def test_what_a_takedown_has_found_is_never_forgotten_because_its_file_is_damaged(lake: tuple[Lake, Settings]) -> None:
    it, _ = lake
    add(it, {"url": ["https://x.example/1.jpg"]})
    tombstones.record_uids(it, "name", "k", ["a" * 32])
    (path,) = [entry.path for entry in it.storage.entries("takedowns") if "/uids/" in entry.path]
    it.storage.put(path, b"[")
    for use in (lambda: matcher(it), lambda: tombstones.record_uids(it, "name", "k", ["b" * 32])):
        with pytest.raises(BadData, match=r"uids/k\.json is damaged: .* Restore the file from a backup"):
            use()
