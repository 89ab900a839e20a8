"""The sample web has the faults of the real one, always the same at the same URL, and records all requests."""

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


def test_a_url_without_a_fault_serves_the_image_of_the_world(web: SampleWeb) -> None:
    world = World(0)
    assert get(web.address(3)).read() == world.image(world.pair("2026-11-01", 3))


@pytest.mark.parametrize(("fault", "status"), [("missing", 404), ("gone", 410), ("forbidden", 403), ("broken", 500)])
def test_a_missing_image_stays_missing(web: SampleWeb, fault: str, status: int) -> None:
    assert [get(web.address(3, fault)).status for _ in range(2)] == [status, status]


@pytest.mark.parametrize(("fault", "status"), [("busy", 429), ("flaky", 500)])
def test_a_temporary_fault_is_gone_at_the_second_request(web: SampleWeb, fault: str, status: int) -> None:
    first, second = (get(web.address(4, fault)) for _ in range(2))
    assert (first.status, second.status) == (status, 200)
    assert first.headers.get("Retry-After") == ("1" if fault == "busy" else None)


def test_a_cut_body_is_shorter_than_its_content_length(web: SampleWeb) -> None:
    with pytest.raises(http.client.IncompleteRead):
        get(web.address(3, "cut")).read()


def test_an_html_page_is_declared_as_an_image(web: SampleWeb) -> None:
    answer = get(web.address(3, "html"))
    assert answer.headers["Content-Type"] == "image/jpeg" and answer.read().startswith(b"<html>")


def hops(url: str, at_most: int) -> int:
    """Count the redirects until an image, up to `at_most`."""
    for hop in range(at_most):
        answer = get(url)
        if answer.status == 200:
            return hop
        parts = urlsplit(url)
        url = f"{parts.scheme}://{parts.netloc}{answer.headers['Location']}"
    return at_most


@pytest.mark.parametrize(("fault", "expected"), [("hops", 3), ("maze", 30), ("loop", 40)])
def test_redirects_lead_to_the_image_or_never_end(web: SampleWeb, fault: str, expected: int) -> None:
    assert hops(web.address(3, fault), 40) == expected


def test_a_redirect_can_lead_to_a_private_address(web: SampleWeb) -> None:
    assert get(web.address(3, "private")).headers["Location"].startswith("http://169.254.169.254/")


def test_a_huge_body_has_a_huge_content_length(web: SampleWeb) -> None:
    answer = get(web.address(3, "huge"))
    assert int(answer.headers["Content-Length"]) == 10**9
    assert len(answer.read(10**6)) == 10**6
    answer.close()


def test_a_client_that_closes_the_connection_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with running() as web:
        answer = get(web.address(3, "huge"))
        assert len(answer.read(10**6)) == 10**6
        answer.close()
        time.sleep(0.5)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_slow_body_is_sent_byte_by_byte(web: SampleWeb) -> None:
    answer = get(web.address(3, "slow"))
    assert len(answer.read1(1000)) == 1
    answer.close()


def test_the_bomb_is_a_small_file_with_many_pixels(web: SampleWeb) -> None:
    bomb = get(web.address(3, "bomb")).read()
    assert len(bomb) < 10**6
    assert int.from_bytes(bomb[16:20]) == int.from_bytes(bomb[20:24]) == 50_000


def test_changed_images_have_other_bytes(web: SampleWeb) -> None:
    now, then = (hashlib.sha256(get(web.address(3, fault)).read()).digest() for fault in ("changed", "ok"))
    assert now != then


def test_opt_outs_are_declared_in_headers_and_files(web: SampleWeb) -> None:
    for word in ("noai", "noimageai", "noml"):
        assert get(web.address(3, word)).headers["X-Robots-Tag"] == word
    assert get(web.address(3, "tdm")).headers["tdm-reservation"] == "1"
    assert b"Disallow: /robots/" in get(f"{web.url}/robots.txt").read()
    assert b"/tdmrep/*" in get(f"{web.url}/.well-known/tdmrep.json").read()


def test_every_fault_has_a_url(web: SampleWeb) -> None:
    assert all(get(web.address(6, fault)).status != 404 for fault in FAULTS if fault != "missing")
    assert get(web.address(6, "no-such-fault")).status == 404


def test_every_request_is_recorded(web: SampleWeb) -> None:
    url = web.hosts_url.format(host=3) + urlsplit(web.address(8)).path
    before = web.count(urlsplit(url).path)
    get(url).read()
    assert web.count(urlsplit(url).path) == before + 1
    assert (web.seen[-1].host, web.seen[-1].user_agent) == (f"127.0.0.3:{web.port}", "tester")


def test_concurrent_requests_are_counted_by_host(web: SampleWeb) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(get, [web.address(number, "slow") for number in range(20, 24)]))
    assert max(request.concurrent for request in web.seen if "/slow/" in request.path) >= 4
    for answer in answers:
        answer.close()
