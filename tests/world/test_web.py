"""The sample web misbehaves as the real one does, at the same address in the same way, and remembers who asked."""

import hashlib
import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from kale_tasks.world.faults import FAULTS
from kale_tasks.world.web import SampleWeb, running
from kale_tasks.world.world import World


@pytest.fixture(scope="module")
def web() -> Iterator[SampleWeb]:
    with running(hosts=3) as server:
        yield server


def get(url: str) -> http.client.HTTPResponse:
    """One request; redirects are not followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}", headers={"User-Agent": "tester"})
    return connection.getresponse()


def test_a_good_address_gives_the_picture_of_the_world(web: SampleWeb) -> None:
    world = World(0)
    assert get(web.address(3)).read() == world.image(world.pair("2026-11-01", 3))


@pytest.mark.parametrize(("fault", "status"), [("missing", 404), ("gone", 410), ("forbidden", 403), ("broken", 500)])
def test_what_is_gone_stays_gone(web: SampleWeb, fault: str, status: int) -> None:
    assert [get(web.address(3, fault)).status for _ in range(2)] == [status, status]


@pytest.mark.parametrize(("fault", "status"), [("busy", 429), ("flaky", 500)])
def test_what_heals_is_whole_at_the_second_request(web: SampleWeb, fault: str, status: int) -> None:
    first, second = (get(web.address(4, fault)) for _ in range(2))
    assert (first.status, second.status) == (status, 200)
    assert first.headers.get("Retry-After") == ("1" if fault == "busy" else None)


def test_a_cut_body_is_shorter_than_it_says(web: SampleWeb) -> None:
    with pytest.raises(http.client.IncompleteRead):
        get(web.address(3, "cut")).read()


def test_a_page_says_that_it_is_a_picture(web: SampleWeb) -> None:
    answer = get(web.address(3, "html"))
    assert answer.headers["Content-Type"] == "image/jpeg" and answer.read().startswith(b"<html>")


def hops(url: str, at_most: int) -> int:
    """How many redirects it takes to a picture, or `at_most`."""
    for hop in range(at_most):
        answer = get(url)
        if answer.status == 200:
            return hop
        parts = urlsplit(url)
        url = f"{parts.scheme}://{parts.netloc}{answer.headers['Location']}"
    return at_most


@pytest.mark.parametrize(("fault", "wanted"), [("hops", 3), ("maze", 30), ("loop", 40)])
def test_redirects_lead_on(web: SampleWeb, fault: str, wanted: int) -> None:
    assert hops(web.address(3, fault), 40) == wanted


def test_a_redirect_leads_inside_the_network(web: SampleWeb) -> None:
    assert get(web.address(3, "private")).headers["Location"].startswith("http://169.254.169.254/")


def test_a_huge_body_says_so_and_keeps_coming(web: SampleWeb) -> None:
    answer = get(web.address(3, "huge"))
    assert int(answer.headers["Content-Length"]) == 10**9
    assert len(answer.read(10**6)) == 10**6
    answer.close()


def test_a_client_that_has_enough_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with running() as web:
        answer = get(web.address(3, "huge"))
        assert len(answer.read(10**6)) == 10**6
        answer.close()
        time.sleep(0.5)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_slow_body_comes_byte_by_byte(web: SampleWeb) -> None:
    answer = get(web.address(3, "slow"))
    assert len(answer.read1(1000)) == 1
    answer.close()


def test_the_bomb_is_small_and_claims_to_be_enormous(web: SampleWeb) -> None:
    bomb = get(web.address(3, "bomb")).read()
    assert len(bomb) < 10**6
    assert int.from_bytes(bomb[16:20]) == int.from_bytes(bomb[20:24]) == 50_000


def test_changed_bytes_no_longer_match(web: SampleWeb) -> None:
    now, then = (hashlib.sha256(get(web.address(3, fault)).read()).digest() for fault in ("changed", "ok"))
    assert now != then


def test_owners_can_refuse(web: SampleWeb) -> None:
    for word in ("noai", "noimageai", "noml"):
        assert get(web.address(3, word)).headers["X-Robots-Tag"] == word
    assert get(web.address(3, "tdm")).headers["tdm-reservation"] == "1"
    assert b"Disallow: /robots/" in get(f"{web.url}/robots.txt").read()
    assert b"/tdmrep/*" in get(f"{web.url}/.well-known/tdmrep.json").read()


def test_every_fault_has_an_address(web: SampleWeb) -> None:
    assert all(get(web.address(6, fault)).status != 404 for fault in FAULTS if fault != "missing")
    assert get(web.address(6, "no-such-fault")).status == 404


def test_every_request_is_remembered(web: SampleWeb) -> None:
    url = web.hosts_url.format(host=3) + urlsplit(web.address(8)).path
    before = web.count(urlsplit(url).path)
    get(url).read()
    assert web.count(urlsplit(url).path) == before + 1
    assert (web.seen[-1].host, web.seen[-1].user_agent) == (f"127.0.0.3:{web.port}", "tester")


def test_requests_open_at_once_are_counted_by_host(web: SampleWeb) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(get, [web.address(number, "slow") for number in range(20, 24)]))
    assert max(seen.together for seen in web.seen if "/slow/" in seen.path) >= 4
    for answer in answers:
        answer.close()
