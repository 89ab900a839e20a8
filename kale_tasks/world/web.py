"""The sample web: serves the images of all worlds, with a fault chosen by each URL, and records every request."""

import asyncio
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache

from aiohttp import web

from kale_tasks.world.faults import FAULTS
from kale_tasks.world.world import World

_JPEG = "image/jpeg"
_BOMB_SIDE = 50_000
_HUGE = 10**9
_RECORDED = 200_000
_ROBOTS = "User-agent: *\nDisallow: /robots/\n"
_RESERVED = [{"location": "/tdmrep/*", "tdm-reservation": 1}]
_OPT_OUTS = {
    "noai": {"X-Robots-Tag": "noai"},
    "noimageai": {"X-Robots-Tag": "noimageai"},
    "noml": {"X-Robots-Tag": "noml"},
    "tdm": {"tdm-reservation": "1"},
}


@dataclass(frozen=True)
class RecordedRequest:
    """A request to the sample web. `concurrent` is the number of open requests to its host, this one included."""

    at: float
    host: str
    path: str
    user_agent: str
    concurrent: int


class SampleWeb:
    """The server and the requests that it has received."""

    def __init__(self) -> None:
        self.seen: deque[RecordedRequest] = deque(maxlen=_RECORDED)
        self.port = 0
        self._counts: Counter[str] = Counter()
        self._open: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def hosts_url(self) -> str:
        """The URL for several hosts, as `kale sample make --web-url` takes it."""
        return f"http://127.0.0.{{host}}:{self.port}"

    def address(self, index: int, fault: str = "ok", key: str = "2026-11-01", seed: int = 0) -> str:
        """Return the URL of an image, with any fault."""
        return f"{self.url}/{fault}/{seed}/{key}/{index:08}.jpg"

    def count(self, path: str) -> int:
        """Return how often a path was requested, on any host."""
        return self._counts[path]

    def app(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(middlewares=[self._record])
        app.router.add_get("/robots.txt", _robots)
        app.router.add_get("/.well-known/tdmrep.json", _tdmrep)
        app.router.add_get("/_seen", self._report)
        app.router.add_get(r"/{fault}/{seed:\d+}/{key}/{index:\d+}.jpg", self._image)
        return app

    @web.middleware
    async def _record(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path == "/_seen":
            return await handler(request)
        self._counts[request.path] += 1
        self._open[request.host] += 1
        agent = request.headers.get("User-Agent", "")
        self.seen.append(RecordedRequest(time.time(), request.host, request.path_qs, agent, self._open[request.host]))
        try:
            return await handler(request)
        except ConnectionError:  # the client closed the connection
            return web.Response()
        finally:
            self._open[request.host] -= 1

    async def _report(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([asdict(seen) for seen in self.seen])

    async def _image(self, request: web.Request) -> web.StreamResponse:
        fault = request.match_info["fault"]
        if fault not in FAULTS:
            raise web.HTTPNotFound
        first = self._counts[request.path] == 1
        return await _HANDLERS.get(fault, _send_image)(request, first)


@contextmanager
def running(port: int = 0, hosts: int = 1) -> Iterator[SampleWeb]:
    """Run the sample web in a thread, on 127.0.0.1 to 127.0.0.`hosts`, on `port` or a free port."""
    server = SampleWeb()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        for number in range(1, hosts + 1):
            site = web.TCPSite(runner, f"127.0.0.{number}", server.port or port)
            await site.start()
            server.port = runner.addresses[0][1]

    async def stop() -> None:
        await runner.cleanup()
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def serve(port: int, hosts: int) -> None:
    """Run the sample web until it is interrupted."""
    with running(port, hosts) as server:
        print(f"sample web on {server.hosts_url if hosts > 1 else server.url}", flush=True)
        threading.Event().wait()


async def _robots(request: web.Request) -> web.StreamResponse:
    return web.Response(text=_ROBOTS)


async def _tdmrep(request: web.Request) -> web.StreamResponse:
    return web.json_response(_RESERVED)


def _body(request: web.Request) -> bytes:
    world = World(int(request.match_info["seed"]))
    try:
        pair = world.pair(request.match_info["key"], int(request.match_info["index"]))
    except ValueError as error:  # no such key
        raise web.HTTPNotFound from error
    return world.image(pair, changed=request.match_info["fault"] == "changed")


async def _send_image(request: web.Request, first: bool) -> web.StreamResponse:
    headers = _OPT_OUTS.get(request.match_info["fault"])
    return web.Response(body=_body(request), content_type=_JPEG, headers=headers)


def _status(code: int, **headers: str) -> Callable[[web.Request, bool], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request, first: bool) -> web.StreamResponse:
        return web.Response(status=code, text="no image", headers=headers)

    return handler


def _first_request(code: int, **headers: str) -> Callable[[web.Request, bool], Awaitable[web.StreamResponse]]:
    fail = _status(code, **{name.replace("_", "-"): value for name, value in headers.items()})

    async def handler(request: web.Request, first: bool) -> web.StreamResponse:
        return await (fail if first else _send_image)(request, first)

    return handler


def _redirects(times: int) -> Callable[[web.Request, bool], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request, first: bool) -> web.StreamResponse:
        done = int(request.query.get("hop", "0"))
        if done == times:
            return await _send_image(request, first)
        raise web.HTTPFound(f"{request.path}?hop={done + 1}")

    return handler


async def _loop(request: web.Request, first: bool) -> web.StreamResponse:
    turn = "b" if request.query.get("turn") == "a" else "a"
    raise web.HTTPFound(f"{request.path}?turn={turn}")


async def _private(request: web.Request, first: bool) -> web.StreamResponse:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data/picture.jpg")


async def _slow(request: web.Request, first: bool) -> web.StreamResponse:
    body = _body(request)
    response = web.StreamResponse(headers={"Content-Type": _JPEG, "Content-Length": str(len(body))})
    await response.prepare(request)
    for byte in body:
        await response.write(bytes([byte]))
        await asyncio.sleep(1)
    return response


async def _cut(request: web.Request, first: bool) -> web.StreamResponse:
    body = _body(request)
    response = web.StreamResponse(headers={"Content-Type": _JPEG, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport:
        request.transport.close()
    return response


async def _huge(request: web.Request, first: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _JPEG, "Content-Length": str(_HUGE)})
    await response.prepare(request)
    chunk = b"\xff\xd8" + bytes(2**16 - 2)
    for _ in range(_HUGE // len(chunk)):
        await response.write(chunk)
    return response


async def _html(request: web.Request, first: bool) -> web.StreamResponse:
    return web.Response(body=b"<html><body>This image was deleted.</body></html>", content_type=_JPEG)


async def _pdf(request: web.Request, first: bool) -> web.StreamResponse:
    return web.Response(body=b"%PDF-1.4\n%%EOF\n", content_type="application/pdf")


async def _bomb(request: web.Request, first: bool) -> web.StreamResponse:
    return web.Response(body=_bomb_png(), content_type="image/png")


@cache
def _bomb_png() -> bytes:
    """Return a valid PNG with one bit per pixel: 0.3 MB that decode to 2,500 million pixels."""
    rows = bytes(1 + _BOMB_SIDE // 8) * 100
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)  # self-contained, so it can be repeated
    times = _BOMB_SIDE // 100
    checksum = (len(rows) * times % 65521 << 16) + 1  # Adler-32 of zeros
    data = b"\x78\xda" + block * times + b"\x03\x00" + checksum.to_bytes(4)
    header = _BOMB_SIDE.to_bytes(4) * 2 + bytes((1, 0, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4) for name, content in chunks
    )


_HANDLERS: dict[str, Callable[[web.Request, bool], Awaitable[web.StreamResponse]]] = {
    "missing": _status(404),
    "gone": _status(410),
    "forbidden": _status(403),
    "broken": _status(500),
    "busy": _first_request(429, Retry_After="1"),
    "flaky": _first_request(500),
    "hops": _redirects(3),
    "maze": _redirects(30),
    "loop": _loop,
    "private": _private,
    "slow": _slow,
    "cut": _cut,
    "huge": _huge,
    "html": _html,
    "pdf": _pdf,
    "bomb": _bomb,
}
