"""What may be asked for: plain http(s) addresses whose servers are public, checked where the connection really goes."""

import ipaddress
import re
from collections.abc import Sequence

from yarl import URL

from kale_tasks.errors import BadConfig
from kale_tasks.images.reasons import Lost, Reason

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LONGEST = 2048
_FORBIDDEN = re.compile(r"[\x00-\x1f\\\x7f]|//[^/?#]* ")
_NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)$")
# Global for Python 3.11, yet answered inside a cloud's own network or meant for special uses.
_INSIDE = [ipaddress.ip_network(block) for block in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")]
# Blocks that carry an IPv4 address in their last (or, for 6to4, their second) bits.
_CARRIES_LAST = [ipaddress.IPv6Network(f"{block}/96") for block in ("64:ff9b::", "64:ff9b:1::", "::", "::ffff:0:0:0")]


class Guard:
    """Says no to addresses that lead inside; `allow` names networks that are let through all the same."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        try:
            self._allowed: list[_Network] = [ipaddress.ip_network(text) for text in allow]
        except ValueError as error:
            raise BadConfig(f"images.fetch.allow: {error}. Give networks such as 127.0.0.0/8.") from error

    def url(self, text: str) -> URL:
        """The address, if it is plain http(s) to a host that may be asked."""
        text = text.strip()
        if len(text) > _LONGEST or _FORBIDDEN.search(text):
            raise Lost(Reason.BAD_URL, "too long, or with control characters, backslashes or a broken host")
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError as error:
            raise Lost(Reason.BAD_URL, str(error)[:80]) from error
        if url.scheme not in ("http", "https") or not host or port is None:
            raise Lost(Reason.BAD_URL, "not http(s)")
        if "@" in url.raw_authority:
            raise Lost(Reason.BAD_URL, "user and password in it")
        if port < 1024 and port not in (80, 443):
            raise Lost(Reason.PRIVATE_ADDRESS, f"port {port}")
        self._literal(host)
        return url.with_fragment(None)

    def address(self, text: str) -> None:
        """Lost, if a connection must not go to this IP address."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise Lost(Reason.PRIVATE_ADDRESS, f"{text[:60]} is no address") from error
        if not self._may(address):
            raise Lost(Reason.PRIVATE_ADDRESS, str(address))

    def _literal(self, host: str) -> None:
        if ":" in host:
            self.address(host)
        elif _NUMERIC.match(host.rstrip(".").rpartition(".")[2]):
            # Octal, hex, short and whole-number forms of IPv4 mean one thing here and another there: none is taken.
            self.address(host.rstrip("."))

    def _may(self, address: _Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id or address.is_site_local:
                return False
            carried = _carried(address)
            if carried is not None:
                return self._may(carried)
        return address.is_global and not address.is_multicast and not any(address in network for network in _INSIDE)


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(address in block for block in _CARRIES_LAST):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
