"""HTTP client for servers of strangers: every address is checked as a URL, when resolved and when connected to."""

import asyncio
import errno
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiodns
import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import ContentLengthError
from yarl import URL

from kale_tasks import __version__
from kale_tasks.images.rate_limit import KEEP_SECONDS
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.images.site_cache import SiteCache
from kale_tasks.images.ssrf_guard import SsrfGuard
from kale_tasks.settings.images import Fetch

PRODUCT = "kale"  # our name in the user agent, in robots.txt and in X-Robots-Tag
_CACHED_NAMES, _CACHE_SECONDS = 20_000, 300.0
_CLOSING_SECONDS = 0.02  # aiohttp closes a connection a moment after it gives it up, and a server counts until then
_MISSING_SECONDS = 60.0  # how long a name that does not exist is not looked up again
_NO_SUCH_NAME = {aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}


class WebClient:
    """An HTTP client whose every failure is an ImageError with its reason.

    `measure(name, seconds)` receives the time spent on name look-ups and on connecting. `sites` has the files by which
    owners opt out, as far as they are known.
    """

    def __init__(self, settings: Fetch, measure: Callable[[str, float], None], sites: SiteCache | None = None) -> None:
        self.sites = sites
        self.guard = SsrfGuard(settings.allow)
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self.guard, settings, measure),
            use_dns_cache=False,  # the resolver has its own, bounded cache
            limit=settings.concurrency,
            keepalive_timeout=KEEP_SECONDS / 2,  # aiohttp looks for idle ones so often: they live twice as long
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_seconds),
            headers={"User-Agent": user_agent(settings), "Accept": "image/*,*/*;q=0.1", "Accept-Encoding": "identity"},
            max_line_size=8190,
            max_field_size=8190,
            trace_configs=[_connections(measure)],
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        if self.sites:
            self.sites.close()

    @asynccontextmanager
    async def get(self, url: URL, keep: bool = True) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a GET request and yield the response with its body unread; redirects are not followed.

        The connection is kept for another request only with `keep`.
        """
        headers = None if keep else {"Connection": "close"}
        try:
            async with self._session.get(url, allow_redirects=False, headers=headers) as response:
                yield response
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _image_error(error) from error

    def redirect_target(self, response: aiohttp.ClientResponse) -> URL:
        """Return the checked URL that the `Location` header of a response leads to."""
        location = response.headers["Location"]
        try:
            target = str(response.url.join(URL(location)))
        except Exception as error:  # yarl raises IndexError and others for some malformed URLs
            raise ImageError(Reason.BAD_RESPONSE, f"Location: {location}"[:80]) from error
        return self.guard.check_url(target)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        # The last check: the socket will connect to exactly this address.
        family, kind, protocol, _, address = info
        self.guard.check_address(address[0])
        return socket.socket(family, kind, protocol)


def user_agent(settings: Fetch) -> str:
    """Return the User-Agent header: the product, its version and how to contact the operator."""
    return f"Mozilla/5.0 (compatible; {PRODUCT}/{__version__}; +{settings.contact})"


def _connections(measure: Callable[[str, float], None]) -> aiohttp.TraceConfig:
    """Let a connection that is being closed end before another begins; measure making them, name look-ups included."""

    async def begin(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
        await asyncio.sleep(_CLOSING_SECONDS)
        context.began = time.perf_counter()

    async def end(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
        measure("connect_seconds", time.perf_counter() - context.began)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(begin)
    trace.on_connection_create_end.append(end)
    return trace


class _Resolver(AbstractResolver):
    """Resolves host names with a limit on concurrent look-ups and a bounded cache; refuses non-public addresses."""

    def __init__(self, guard: SsrfGuard, settings: Fetch, measure: Callable[[str, float], None]) -> None:
        self._guard, self._measure = guard, measure
        self._dns = aiodns.DNSResolver(settings.name_servers or None, timeout=5, tries=2)
        self._slots = asyncio.Semaphore(settings.dns_lookups)
        self._cache: OrderedDict[tuple[str, int], tuple[float, list[ResolveResult] | ImageError]] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        cached = self._cache.get((host, port))
        if cached is None or cached[0] < time.monotonic():
            cached = await self._look_up_or_miss(host, port, family)
            self._cache[host, port] = cached
            if len(self._cache) > _CACHED_NAMES:
                self._cache.popitem(last=False)
        if isinstance(cached[1], ImageError):
            raise ImageError(cached[1].reason, cached[1].detail)  # a new one: each raise adds to its traceback
        return cached[1]

    async def close(self) -> None:
        await self._dns.close()

    async def _look_up_or_miss(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> tuple[float, list[ResolveResult] | ImageError]:
        try:
            return time.monotonic() + _CACHE_SECONDS, await self._look_up(host, port, family)
        except ImageError as error:
            if error.reason != Reason.DNS_NOT_FOUND:
                raise
            return time.monotonic() + _MISSING_SECONDS, error

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        async with self._slots:
            began = time.perf_counter()
            try:
                found = await self._dns.getaddrinfo(host, port=port, family=family, type=socket.SOCK_STREAM)
            except aiodns.error.DNSError as error:
                reason = Reason.DNS_NOT_FOUND if error.args[0] in _NO_SUCH_NAME else Reason.DNS_FAILED
                raise ImageError(reason, host[:80]) from error
            except UnicodeError as error:
                raise ImageError(Reason.BAD_URL, host[:80]) from error
            finally:
                self._measure("dns_seconds", time.perf_counter() - began)
        return [self._result(host, node) for node in found.nodes]

    def _result(self, host: str, node: Any) -> ResolveResult:
        address, port = node.addr[0].decode(), node.addr[1]
        self._guard.check_address(address)  # one address that is not public refuses the whole name
        return ResolveResult(
            hostname=host, host=address, port=port, family=node.family, proto=0, flags=socket.AI_NUMERICHOST
        )


def _image_error(error: Exception) -> ImageError:
    detail = f"{type(error).__name__}: {error}"[:120]
    number = getattr(error, "errno", None)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return ImageError(Reason.TLS_FAILED, detail)
    if isinstance(error, TimeoutError):
        return ImageError(Reason.TIMED_OUT, detail)
    if number in _UNREACHABLE:
        return ImageError(Reason.NETWORK_UNREACHABLE, detail)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ImageError(Reason.BAD_RESPONSE if _malformed(error) else Reason.CUT_SHORT, detail)
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return ImageError(Reason.BAD_RESPONSE, detail)
    return ImageError(Reason.CONNECT_FAILED, detail)


def _malformed(error: BaseException) -> bool:
    # aiohttp raises the same error for a body that ends too early and for a chunk that cannot be parsed.
    cause = error.__cause__ or error
    return not isinstance(cause, ContentLengthError) and "Not enough data" not in str(cause)
