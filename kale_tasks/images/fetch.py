"""Fetches images: each address politely, within its limits, a few times if that may help."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from kale_tasks.images.decode import SNIFFED, sniff
from kale_tasks.images.opt_out import Site, check_head, read_site
from kale_tasks.images.rate_limit import Budget, Host, backoff
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.images.web import Web
from kale_tasks.settings.images import Fetch

_SITE_FAILURE_SECONDS = 2.0
_UNSTATED_BYTES = 1 << 20
_NOT_THERE = {404: Reason.NOT_FOUND, 410: Reason.NOT_FOUND, 401: Reason.FORBIDDEN, 403: Reason.FORBIDDEN}
_LATER = {408: Reason.BUSY, 425: Reason.BUSY, 429: Reason.BUSY}


@dataclass(frozen=True)
class Got:
    """The bytes of an answer, or the reason why there are none."""

    attempts: int
    body: bytes = b""
    reason: Reason | None = None
    detail: str = ""
    http_status: int | None = None
    final_url: str | None = None


class Fetcher:
    """Fetches addresses for one chunk of work; lives in one event loop."""

    def __init__(self, settings: Fetch, web: Web, measure: Callable[[str, float], None]) -> None:
        self._settings, self._web, self._measure = settings, web, measure
        self._hosts: dict[str, Host] = {}
        self._sites: dict[URL, asyncio.Task[Site]] = {}
        self._open = asyncio.Semaphore(settings.concurrency)
        self._bytes = Budget(settings.memory_mb << 20)

    @asynccontextmanager
    async def fetch(self, address: str) -> AsyncIterator[Got]:
        """One address, asked as often as the settings allow; its bytes count as held until the caller is done."""
        for attempt in range(1, self._settings.tries + 1):
            async with AsyncExitStack() as held:
                visit = _Visit(held)
                try:
                    body = await self._visited(address, visit)
                except Lost as lost:
                    failure = lost
                else:
                    yield Got(attempt, body, http_status=visit.status, final_url=visit.url)
                    return
            wait = backoff(attempt) if failure.wait is None else failure.wait
            if attempt == self._settings.tries or not failure.reason.soon or wait > self._settings.patience_seconds:
                break
            await asyncio.sleep(wait)
        yield Got(attempt, b"", failure.reason, failure.detail, visit.status, visit.url)

    async def answers(self, address: str) -> bool:
        """Whether the server of an address says anything at all."""
        try:
            async with asyncio.timeout(self._settings.seconds), self._web.get(self._web.guard.url(address)):
                return True
        except TimeoutError:
            return False
        except Lost as lost:
            return not lost.reason.unanswered

    async def _visited(self, address: str, visit: "_Visit") -> bytes:
        url = self._web.guard.url(address)
        for _ in range(self._settings.redirects + 1):
            (await self._site(url.origin())).check(url)
            answer = await self._asked(url, visit)
            if isinstance(answer, bytes):
                return answer
            await visit.held.aclose()
            url = answer
        raise Lost(Reason.TOO_MANY_REDIRECTS, f"more than {self._settings.redirects}")

    async def _asked(self, url: URL, visit: "_Visit") -> bytes | URL:
        """One request: the body, or where it redirects to."""
        host = self._host(url)
        try:
            async with host.turn(), asyncio.timeout(None) as limit:
                await visit.held.enter_async_context(self._open)
                began = asyncio.get_running_loop().time()
                limit.reschedule(began + self._settings.seconds - visit.spent)
                answer = await self._answered(url, visit, host, limit)
                visit.spent += asyncio.get_running_loop().time() - began
                return answer
        except TimeoutError as error:
            raise Lost(Reason.TIMED_OUT, f"after {self._settings.seconds:g} s") from error

    async def _answered(self, url: URL, visit: "_Visit", host: Host, limit: asyncio.Timeout) -> bytes | URL:
        async with self._web.get(url) as answer:
            visit.status, visit.url = answer.status, str(url)
            if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                return self._web.guard.url(str(url.join(URL(answer.headers["Location"]))))
            self._check_status(answer, host)
            check_head(answer.headers, answer.headers.getall("X-Robots-Tag", ()))
            return await self._body(answer, visit, limit)

    def _check_status(self, answer: aiohttp.ClientResponse, host: Host) -> None:
        status = answer.status
        if status == 200:
            return
        wait = _retry_after(answer.headers.get("Retry-After")) if status in (429, 503) else None
        if wait:
            host.pause(wait)
        known = _NOT_THERE.get(status) or _LATER.get(status)
        raise Lost(known or (Reason.SERVER_ERROR if status >= 500 else Reason.REJECTED), f"answers {status}", wait)

    async def _body(self, answer: aiohttp.ClientResponse, visit: "_Visit", limit: asyncio.Timeout) -> bytes:
        stated = answer.content_length
        if stated is not None and stated > self._settings.max_bytes:
            raise Lost(Reason.TOO_LARGE, f"{stated} bytes")
        began = time.perf_counter()
        await visit.held.enter_async_context(self._bytes.hold(_UNSTATED_BYTES if stated is None else stated))
        waited = time.perf_counter() - began
        limit.reschedule((limit.when() or 0.0) + waited)  # waiting for our own memory is not the server's fault
        body = bytearray()
        async for piece in answer.content.iter_any():
            looked = len(body) >= SNIFFED
            body += piece
            if not looked and len(body) >= SNIFFED:
                sniff(bytes(body[:SNIFFED]))  # what is no image is not read to its end
            if len(body) > self._settings.max_bytes:
                raise Lost(Reason.TOO_LARGE, f"more than {self._settings.max_bytes} bytes")
        self._measure("body_seconds", time.perf_counter() - began - waited)
        self._measure("body_bytes", len(body))
        return bytes(body)

    async def _site(self, origin: URL) -> Site:
        """The rules of a site, asked for once; a failure to get them holds for a while."""
        if origin not in self._sites:
            host = self._host(origin)
            self._sites[origin] = asyncio.create_task(read_site(self._web, host, origin, self._settings.seconds))
        task = self._sites[origin]
        try:
            return await asyncio.shield(task)
        except Lost:
            loop = asyncio.get_running_loop()
            loop.call_later(_SITE_FAILURE_SECONDS, lambda: self._forget(origin, task))
            raise

    def _forget(self, origin: URL, task: "asyncio.Task[Site]") -> None:
        if self._sites.get(origin) is task:
            del self._sites[origin]

    def _host(self, url: URL) -> Host:
        name = url.raw_host or ""
        if name not in self._hosts:
            self._hosts[name] = Host(self._settings)
        return self._hosts[name]


@dataclass
class _Visit:
    """How far one try came, and what it holds."""

    held: AsyncExitStack
    spent: float = 0.0
    status: int | None = None
    url: str | None = None


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks us to wait, from either of the two forms."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
