"""Weather between a client and an S3 server: a proxy that forwards requests, or refuses, loses and delays them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, web
from yarl import URL

from tests.engines.server import running

_OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}
_LIBRARY = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # would be added to what is signed
_BUSY = "<Error><Code>{}</Code><Message>Please reduce your request rate.</Message></Error>"
SLOW_SECONDS = 0.3


@dataclass
class Storm:
    """What happens to requests. `now` is asked before each: calm, busy, broken, lost or slow."""

    server: str
    endpoint: str = ""
    now: Callable[[web.Request], str] = lambda _: "calm"
    asked: Counter[str] = field(default_factory=Counter)
    suffered: Counter[str] = field(default_factory=Counter)  # by kind of weather

    def every_third(self, kind: str) -> Callable[[web.Request], str]:
        """The first try of every third request suffers, and that of every one for metadata of tables."""

        def now(request: web.Request) -> str:
            chosen = len(self.asked) % 3 == 0 or "/metadata/" in request.path
            return kind if chosen and self.asked[_request_id(request)] == 1 else "calm"

        return now

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request as the weather is."""
        self.asked[_request_id(request)] += 1
        body, kind = await request.read(), self.now(request)
        self.suffered[kind] += 1
        if kind == "busy":
            return web.Response(status=503, text=_BUSY.format("SlowDown"), content_type="application/xml")
        if kind == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        answer = await self._forwarded(request, body)
        if kind == "broken":
            return web.Response(status=500, text=_BUSY.format("InternalError"), content_type="application/xml")
        if kind == "lost":
            assert request.transport
            request.transport.abort()
        return answer

    async def _forwarded(self, request: web.Request, body: bytes) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OF_A_CONNECTION]
        url = URL(self.server + request.raw_path, encoded=True)
        session = request.app[_SESSION]
        async with session.request(request.method, url, headers=headers, data=body or None) as response:
            kept = [(name, value) for name, value in response.headers.items() if name.lower() not in _OF_A_CONNECTION]
            if request.method == "HEAD":
                kept.append(("Content-Length", response.headers.get("Content-Length", "0")))
            return web.Response(status=response.status, body=await response.read(), headers=kept)


_SESSION = web.AppKey("session", ClientSession)


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(auto_decompress=False, skip_auto_headers=_LIBRARY) as app[_SESSION]:
        yield


def _request_id(request: web.Request) -> str:
    return request.headers.get("amz-sdk-invocation-id") or f"{request.method} {request.raw_path}"


@contextmanager
def storm_before(server: str) -> Iterator[Storm]:
    """Put weather before a server, for as long as the block lasts."""
    storm = Storm(server)
    with running([web.route("*", "/{path:.*}", storm.answer)], contexts=[_session]) as url:
        storm.endpoint = url.removesuffix("/v1")
        yield storm
