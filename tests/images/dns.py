"""A DNS server on this machine with configurable records."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NXDOMAIN, SERVFAIL = 3, 2


class Names:
    """The records of the server: addresses by name (one for each query, the last one repeated), or an error code."""

    def __init__(self) -> None:
        self.known: dict[str, list[str] | int] = {}
        self.asked: list[str] = []
        self.address = ""

    def answer(self, query: bytes) -> bytes:
        """Answer a query for an A record; there are no other records."""
        name, end = _name(query)
        kind = struct.unpack(">H", query[end : end + 2])[0]
        found = self.known.get(name, NXDOMAIN)
        code = found if isinstance(found, int) else 0
        addresses: list[str] = []
        if not isinstance(found, int) and kind == 1:
            self.asked.append(name)
            addresses = [found[0]]
            if len(found) > 1:
                found.pop(0)
        records = b"".join(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton(a) for a in addresses)
        head = struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
        return query[:2] + head + query[12 : end + 4] + records


@contextmanager
def name_server() -> Iterator[Names]:
    """Run a DNS server on a free port of 127.0.0.1."""
    names = Names()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        names.address = f"127.0.0.1:{server.getsockname()[1]}"
        threading.Thread(target=_serve, args=(server, names), daemon=True).start()
        yield names


def _serve(server: socket.socket, names: Names) -> None:
    while True:
        try:
            query, client = server.recvfrom(4096)
        except OSError:
            return
        server.sendto(names.answer(query), client)


def _name(query: bytes) -> tuple[str, int]:
    at, labels = 12, []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1
