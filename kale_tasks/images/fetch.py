"""Fetches images: within the limits of host and site, with a few attempts where another may succeed."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from kale_tasks.images.decode import supported_type
from kale_tasks.images.opt_out import SiteRules, check_headers, fetch_site_rules
from kale_tasks.images.rate_limit import Alone, ByteBudget, HostLimit, Share, backoff
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.images.web import WebClient
from kale_tasks.imaging import SNIFFED_BYTES
from kale_tasks.settings.images import Fetch
from kale_tasks.urls import registered_domain

_SITE_FAILURE_SECONDS = 2.0  # how long a failure to get the rules of a site is remembered
_FIRST_BYTES = 1 << 20  # held for a body at first, and until it proves to be larger
_REDIRECTS = (301, 302, 303, 307, 308)
_REASONS = {
    401: Reason.FORBIDDEN,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    408: Reason.BUSY,
    410: Reason.NOT_FOUND,
    425: Reason.BUSY,
    429: Reason.BUSY,
}


@dataclass(frozen=True)
class Response:
    """The outcome of fetching one image: its bytes, or the reason why there are none."""

    attempts: int
    body: bytes = b""
    reason: Reason | None = None
    detail: str = ""
    http_status: int | None = None
    final_url: str | None = None


@dataclass
class _Attempt:
    """The state of one attempt: resources to release afterwards, and what is known so far."""

    resources: AsyncExitStack
    seconds: float = 0.0  # spent on requests, waiting for a slot excluded
    status: int | None = None
    url: str | None = None


class ImageFetcher:
    """Fetches the images of one chunk, within one event loop."""

    def __init__(
        self, settings: Fetch, web: WebClient, measure: Callable[[str, float], None], share: Share | None = None
    ) -> None:
        self._settings, self._web, self._measure, self._share = settings, web, measure, share or Alone()
        self._hosts: dict[str, HostLimit] = {}
        self._sites: dict[URL, asyncio.Task[SiteRules]] = {}
        self._open = asyncio.Semaphore(settings.concurrency)
        self._bytes = ByteBudget(settings.memory_mb << 20, settings.max_bytes)

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Response]:
        """Fetch one image with up to `tries` attempts; its bytes count as held until the block ends."""
        for number in range(1, self._settings.tries + 1):
            async with AsyncExitStack() as resources:
                attempt = _Attempt(resources)
                try:
                    body = await self._follow(url, attempt)
                except ImageError as error:
                    failure = error
                except Exception as error:  # a response that trips a library: it must cost this image only
                    self._measure("unexpected_errors", 1)
                    failure = ImageError(Reason.BAD_RESPONSE, f"{type(error).__name__}: {error}"[:120])
                else:
                    yield Response(number, body, http_status=attempt.status, final_url=attempt.url)
                    return
            wait = backoff(number) if failure.retry_after is None else failure.retry_after
            if (
                number == self._settings.tries
                or not failure.reason.retried_at_once
                or wait > self._settings.patience_seconds
            ):
                break
            await asyncio.sleep(wait)
        yield Response(number, b"", failure.reason, failure.detail, attempt.status, attempt.url)

    async def reaches(self, url: str) -> bool:
        """Return whether the server of a URL answers at all."""
        try:
            async with asyncio.timeout(self._settings.seconds), self._web.get(self._web.guard.check_url(url)):
                return True
        except TimeoutError:
            return False
        except ImageError as error:
            return not error.reason.unanswered

    async def _follow(self, address: str, attempt: _Attempt) -> bytes:
        """Return the body of an image, following redirects."""
        url = self._web.guard.check_url(address)
        for _ in range(self._settings.redirects + 1):
            (await self._site_rules(url.origin())).check(url)
            found = await self._request(url, attempt)
            if isinstance(found, bytes):
                return found
            await attempt.resources.aclose()
            url = found
        raise ImageError(Reason.TOO_MANY_REDIRECTS, f"more than {self._settings.redirects}")

    async def _request(self, url: URL, attempt: _Attempt) -> bytes | URL:
        """Send one request and return the body, or the URL to which it redirects."""
        host = self._host(url)
        try:
            async with host.slot(), asyncio.timeout(None) as limit:
                await attempt.resources.enter_async_context(self._open)
                began = asyncio.get_running_loop().time()
                limit.reschedule(began + self._settings.seconds - attempt.seconds)
                found = await self._receive(url, attempt, host, limit)
                attempt.seconds += asyncio.get_running_loop().time() - began
                return found
        except TimeoutError as error:
            raise ImageError(Reason.TIMED_OUT, f"after {self._settings.seconds:g} s") from error

    async def _receive(self, url: URL, attempt: _Attempt, host: HostLimit, limit: asyncio.Timeout) -> bytes | URL:
        async with self._web.get(url, host.keeps_connections) as response:
            attempt.status, attempt.url = response.status, str(url)
            if response.status in _REDIRECTS and "Location" in response.headers:
                return self._web.redirect_target(response)
            self._check_status(response, host)
            check_headers(response.headers, self._settings.noindex)
            return await self._read_body(response, attempt, limit)

    def _check_status(self, response: aiohttp.ClientResponse, host: HostLimit) -> None:
        status = response.status
        if status == 200:
            return
        wait = _retry_after(response.headers.get("Retry-After")) if status in (429, 503) else None
        if wait:
            host.pause(wait)
        other = Reason.SERVER_ERROR if status >= 500 else Reason.REJECTED
        raise ImageError(_REASONS.get(status, other), f"answers {status}", wait)

    async def _read_body(self, response: aiohttp.ClientResponse, attempt: _Attempt, limit: asyncio.Timeout) -> bytes:
        largest = self._settings.max_bytes
        length = response.content_length if "Content-Encoding" not in response.headers else None
        if length is not None and length > largest:
            raise ImageError(Reason.TOO_LARGE, f"{length} bytes")
        most = largest if length is None else length
        began = time.perf_counter()
        held = await attempt.resources.enter_async_context(self._bytes.hold(min(most, _FIRST_BYTES)))
        waited = self._excluded(began, limit)
        body = bytearray()
        async for piece in response.content.iter_any():
            type_known = len(body) >= SNIFFED_BYTES
            body += piece
            if not type_known and len(body) >= SNIFFED_BYTES:
                supported_type(bytes(body[:SNIFFED_BYTES]))  # stop reading what is not an image
            if len(body) > largest:
                raise ImageError(Reason.TOO_LARGE, f"more than {largest} bytes")
            if held.size < len(body) and held.size < most:
                paused = time.perf_counter()
                await held.grow(most)
                waited += self._excluded(paused, limit)
        self._measure("body_seconds", time.perf_counter() - began - waited)
        self._measure("body_bytes", len(body))
        return bytes(body)

    def _excluded(self, since: float, limit: asyncio.Timeout) -> float:
        """Return the seconds waited for our own memory, which do not count as the server's time."""
        waited = time.perf_counter() - since
        limit.reschedule((limit.when() or 0.0) + waited)
        return waited

    async def _site_rules(self, origin: URL) -> SiteRules:
        """Return the rules of a site, requested once; a failure is remembered for a short time."""
        if origin not in self._sites:
            request = fetch_site_rules(self._web, self._host(origin), origin, self._settings.seconds)
            self._sites[origin] = asyncio.create_task(request)
        task = self._sites[origin]
        try:
            return await asyncio.shield(task)
        except ImageError:
            loop = asyncio.get_running_loop()
            loop.call_later(_SITE_FAILURE_SECONDS, lambda: self._forget_site(origin, task))
            raise

    def _forget_site(self, origin: URL, task: "asyncio.Task[SiteRules]") -> None:
        if self._sites.get(origin) is task:
            del self._sites[origin]

    def _host(self, url: URL) -> HostLimit:
        name = registered_domain(url.raw_host or "")
        if name not in self._hosts:
            self._hosts[name] = HostLimit(self._settings, self._share)
        return self._hosts[name]


def _retry_after(value: str | None) -> float | None:
    """Parse a Retry-After header, in seconds or as a date, to seconds from now; None if absent or invalid."""
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):  # the parser fails on some malformed dates
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
