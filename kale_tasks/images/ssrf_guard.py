"""Guard against server-side request forgery: only public http(s) addresses may be requested."""

import ipaddress
import re
from collections.abc import Sequence

from yarl import URL

from kale_tasks.errors import BadConfig
from kale_tasks.images.reasons import ImageError, Reason

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAX_LENGTH = 2048
_FORBIDDEN = re.compile(r"[\x00-\x1f\\\x7f]|//[^/?#]* ")
_NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)$")
# Some versions of Python 3.11 call these global, but clouds answer in them inside their own networks, or they have
# special uses; those of IPv6 are for NAT64 inside a network (RFC 8215) and for 6to4, which nobody should use any more.
_NOT_PUBLIC = [
    ipaddress.ip_network(block)
    for block in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2002::/16")
]
# IPv6 blocks whose last 32 bits are an IPv4 address.
_EMBEDS_IPV4 = [ipaddress.IPv6Network(block) for block in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")]


class SsrfGuard:
    """Refuses addresses that are not public; `allow` lists networks that are permitted nevertheless."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        try:
            self._allowed: list[_Network] = [ipaddress.ip_network(text) for text in allow]
        except ValueError as error:
            raise BadConfig(f"images.fetch.allow: {error}. Give networks such as 127.0.0.0/8.") from error

    def check_url(self, text: str) -> URL:
        """Parse a URL and return it without its fragment; ImageError if it must not be requested."""
        text = text.strip()
        if len(text) > _MAX_LENGTH or _FORBIDDEN.search(text):
            raise ImageError(Reason.BAD_URL, "too long, or with control characters, backslashes or a broken host")
        try:
            url = URL(text)
            host, port = url.host, url.port
        except Exception as error:  # yarl raises IndexError and others for some malformed URLs
            raise ImageError(Reason.BAD_URL, str(error)[:80]) from error
        if url.scheme not in ("http", "https") or not host or port is None:
            raise ImageError(Reason.BAD_URL, "not http(s)")
        if "@" in url.raw_authority:
            raise ImageError(Reason.BAD_URL, "user and password in it")
        if port < 1024 and port not in (80, 443):
            raise ImageError(Reason.PRIVATE_ADDRESS, f"port {port}")
        self._check_literal(host)
        return url.with_fragment(None)

    def check_address(self, text: str) -> None:
        """Raise ImageError if no connection may be made to this IP address."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise ImageError(Reason.PRIVATE_ADDRESS, f"{text[:60]} is no address") from error
        if not self._permitted(address):
            raise ImageError(Reason.PRIVATE_ADDRESS, str(address))

    def _check_literal(self, host: str) -> None:
        if ":" in host:
            self.check_address(host)
        elif _NUMERIC.match(host.rstrip(".").rpartition(".")[2]):
            # Programs disagree on octal, hexadecimal, short and whole-number forms of IPv4: refuse all of them.
            self.check_address(host.rstrip("."))

    def _permitted(self, address: _Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        if any(address in block for block in _NOT_PUBLIC):
            return False
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id or address.is_site_local:
                return False
            embedded = _embedded_ipv4(address)
            if embedded is not None:
                return self._permitted(embedded)
        return address.is_global and not address.is_multicast


def _embedded_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(address in block for block in _EMBEDS_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or (teredo[1] if teredo else None)
