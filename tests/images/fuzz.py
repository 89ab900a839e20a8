"""A raw socket server whose answers are made from a seed: HTTP with parts that are wrong, missing or too many."""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.images.hostile import cancel_others, picture

HOSTS = 8
_BODIES = [
    b"",
    picture(40, 30),
    picture(40, 30)[:200],
    picture(40, 30, "PNG"),
    b"<html>",
    bytes(5000),
    b"\xff\xd8\xff" * 50,
]
_STATUS = [
    "200 OK",
    "200",
    "301 Moved",
    "302 Found",
    "307",
    "308 X",
    "404 No",
    "429 Slow",
    "503",
    "999 X",
    "0",
    "20000 OK",
    "200 \x00",
    "-1 X",
    "",
    "101 Switching Protocols",
    "204 None",
    "206 Part",
    "100 Continue",
    "304 Same",
]
_VERSIONS = ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/1.1.1", "http/1.1", "ICY", ""]
_LOCATIONS = [
    "/next.jpg",
    "http://[]@",
    "http://[::1",
    "//",
    "http://",
    "http://127.0.0.1:99999/",
    "http://\xff/",
    "ftp://a/",
    "http://a..b/",
    "http://xn--/",
    "http://%00/",
    "?",
    "#",
    "http://127.0.0.1:1/",
    "\ud800",
    "http://[v1.x]/",
    "http:///x",
    "http://u:p@127.0.0.1/",
    "http://" + "a" * 300 + "/",
    "http://" + "a." * 2000,
    "file:///etc/passwd",
    "http://\u2100.test/",
    "javascript:1",
    "http://0x7f.1/",
    "http://1.1.1.1.1/",
    "/" + "x" * 9000,
    "",
]
_VALUES = [
    "",
    "0",
    "-1",
    "1",
    "99",
    "1e9",
    "99999999999999999999",
    "\u0664",
    "chunked",
    "gzip",
    "br",
    "identity, gzip",
    "gzip, gzip",
    "deflate",
    "zstd",
    "Thu, 99 Foo 2026 99:99:99",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -9999",
    "noai",
    "\x80\xff",
    "a" * 9000,
    "max-snippet: x, :::",
    "1,1",
    "image/jpeg; charset=\x00",
    "bytes 0-1/2",
]
_NAMES = [
    "Content-Length",
    "Transfer-Encoding",
    "Content-Encoding",
    "Retry-After",
    "X-Robots-Tag",
    "TDM-Reservation",
    "Content-Type",
    "Connection",
    "Location",
    "Set-Cookie",
    "Content-Range",
    "Date",
    "",
    "X Y",
    "\xff",
    ":",
]


def answer(seed: int) -> bytes:
    """Return the answer of a seed."""
    rng = random.Random(seed)
    body = rng.choice(_BODIES)
    fields = [("Content-Length", str(len(body)))] if rng.random() < 0.7 else []
    if rng.random() < 0.4:
        fields.append(("Location", rng.choice(_LOCATIONS)))
    fields += [(rng.choice(_NAMES), rng.choice(_VALUES)) for _ in range(rng.randrange(4))]
    end = rng.choice(["\r\n"] * 6 + ["\n", "\r", "\r\n "])
    head = end.join(
        [f"{rng.choice(_VERSIONS[:2] * 4 + _VERSIONS)} {rng.choice(_STATUS)}", *(f"{n}: {v}" for n, v in fields)]
    )
    data = bytearray((head + end * 2).encode("utf-8", "surrogatepass") + _framed(body, rng))
    for _ in range(rng.choice([0, 0, 0, 1, 3, 20])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def _framed(body: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.7:
        return body
    size = rng.choice([f"{len(body):x}", "-1", "ffffffffffffffffff", "0", "zz", f"{len(body):x};x=y"])
    return size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"


@contextmanager
def fuzzing_server() -> Iterator[int]:
    """Run the server on 127.0.0.1 to 127.0.0.8 and yield its port; the path of a request is the seed."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                name = head.split(b" ")[1].strip(b"/").removesuffix(b".jpg")
                if name.isdigit():
                    writer.write(answer(int(name)))
                elif name == b"next":
                    writer.write(answer(random.randrange(1 << 30)))
                else:
                    host = writer.get_extra_info("sockname")[0]
                    writer.write(
                        b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" if host.endswith(".1") else answer(len(host))
                    )
                await writer.drain()
                if not name.isdigit() or int(name) % 3:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
            pass
        finally:
            writer.close()

    async def start() -> int:
        first = await asyncio.start_server(serve, "127.0.0.1", 0)
        port: int = first.sockets[0].getsockname()[1]
        for host in range(2, HOSTS + 1):
            await asyncio.start_server(serve, f"127.0.0.{host}", port)
        return port

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(cancel_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
