"""Which addresses may be requested."""

import asyncio
import ipaddress
import re
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadConfig
from kale_tasks.images.reasons import ImageError
from kale_tasks.images.ssrf_guard import SsrfGuard
from kale_tasks.images.web import _Resolver
from kale_tasks.settings import load

_PRIVATE = st.sampled_from(
    ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8",
     "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"]
).flatmap(lambda block: st.ip_addresses(network=block))  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.jpg",
        "https://example.org:8443/a%20b.jpg?w=1",
        "http://example.org/My Photo.jpg",
        "http://8.8.8.8/a.jpg",
        "http://[2606:4700::1111]/a.jpg",
        "https://b\u00fccher.example/\u00fc.jpg",
    ],
)
def test_public_urls_are_accepted(url: str) -> None:
    assert SsrfGuard().check_url(url).scheme in ("http", "https")


@given(_PRIVATE)
def test_no_spelling_of_a_private_address_is_accepted(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    low = number & 0xFFFFFF
    spellings = [
        str(address), str(number), hex(number), f"0{number:o}", f"{address}.", f"{number >> 24}.{low}",
        ".".join(f"0{part:o}" for part in address.packed), f"[::ffff:{address}]", f"[::{address}]",
        f"[64:ff9b::{address}]", f"[{ipaddress.IPv6Address((0x2002 << 112) | (number << 80))}]",
    ]  # fmt: skip
    for spelling in spellings:
        with pytest.raises(ImageError):
            SsrfGuard().check_url(f"http://{spelling}/a.jpg")


@pytest.mark.parametrize("prefix", ["64:ff9b:1::", "64:ff9b:1:ffff::", "64:ff9b:1:a:b:c:"])
def test_every_local_nat64_prefix_is_known(prefix: str) -> None:
    for private in ("7f00:1", "a9fe:a9fe", "a00:1"):
        with pytest.raises(ImageError, match="private_address"):
            SsrfGuard().check_url(f"http://[{prefix}{private}]/a.jpg")


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_is_accepted_only_if_it_is_public(address: ipaddress.IPv6Address) -> None:
    try:
        SsrfGuard().check_address(str(address))
    except ImageError:
        return
    assert address.is_global
    assert not address.is_multicast


@pytest.mark.parametrize("url", ["http://[]@", "http://[]@/a.jpg", "http://[/a.jpg", "http://a:99999999/"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ImageError, match="bad_url"):
        SsrfGuard().check_url(url)


@given(st.text(max_size=60))
def test_any_text_is_either_an_accepted_url_or_an_image_error(text: str) -> None:
    try:
        url = SsrfGuard().check_url(text)
    except ImageError:
        return
    assert url.scheme in ("http", "https")
    assert url.host


def test_an_allowed_network_is_accepted_and_no_other() -> None:
    guard = SsrfGuard(["127.0.0.0/30"])
    guard.check_address("127.0.0.2")
    with pytest.raises(ImageError):
        guard.check_address("127.0.0.4")


def test_an_invalid_network_is_named_in_the_error() -> None:
    with pytest.raises(BadConfig, match=r"images\.fetch\.allow"):
        SsrfGuard(["localhost"])


def test_names_are_looked_up_a_few_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:  # a server that hears and does not answer
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        of = load([f"images.fetch.name_servers=['{address}']", "images.fetch.dns_lookups=2"]).settings.images.fetch

        async def ask() -> set[bytes]:
            resolver = _Resolver(SsrfGuard(), of, lambda name, value: None)
            tasks = [asyncio.create_task(resolver.resolve(f"host{n}.example")) for n in range(6)]
            asked = set()
            for _ in range(10):
                await asyncio.sleep(0.03)
                with suppress(BlockingIOError):
                    while True:
                        asked.update(re.findall(rb"host\d", silent.recv(4096)))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await resolver.close()
            return asked

        assert asyncio.run(ask()) == {b"host0", b"host1"}


def test_addresses_of_nat64_inside_a_network_are_not_public_in_any_version_of_python() -> None:
    with pytest.raises(ImageError, match="private_address"):
        SsrfGuard().check_address("64:ff9b:1:88a2:df70:df22:808:808")
    SsrfGuard(["64:ff9b:1::/48"]).check_address("64:ff9b:1:88a2:df70:df22:808:808")
