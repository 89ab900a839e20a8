"""One guarded HTTP request: its address is checked when named, when resolved and when connected to."""

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
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.images.robots import PRODUCT
from kale_tasks.images.ssrf_guard import Guard
from kale_tasks.settings.images import Fetch

_NAMES_KEPT, _NAME_SECONDS = 20_000, 300.0
_NO_SUCH_NAME = {aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}


class Web:
    """An HTTP client for strangers' servers. Every failure is Lost, with its reason."""

    def __init__(self, settings: Fetch, measure: Callable[[str, float], None]) -> None:
        self.guard = Guard(settings.allow)
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self.guard, settings, measure),
            use_dns_cache=False,  # the resolver keeps its own, bounded
            limit=settings.concurrency,
            keepalive_timeout=10,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_seconds),
            headers={"User-Agent": agent(settings), "Accept": "image/*,*/*;q=0.1", "Accept-Encoding": "identity"},
            max_line_size=8190,
            max_field_size=8190,
            trace_configs=[_connections(measure)],
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def get(self, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head, its body unread; redirects are the caller's."""
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                yield response
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _lost(error) from error

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        # The last word: this very address is what the socket will connect to.
        family, kind, protocol, _, address = info
        self.guard.address(address[0])
        return socket.socket(family, kind, protocol)


def agent(settings: Fetch) -> str:
    """What we call ourselves, with a way to reach whoever runs this."""
    return f"Mozilla/5.0 (compatible; {PRODUCT}/{__version__}; +{settings.contact})"


def _connections(measure: Callable[[str, float], None]) -> aiohttp.TraceConfig:
    """Measures the seconds of making connections, names included."""

    async def begin(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
        context.began = time.perf_counter()

    async def end(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
        measure("connect_seconds", time.perf_counter() - context.began)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(begin)
    trace.on_connection_create_end.append(end)
    return trace


class _Resolver(AbstractResolver):
    """Looks names up, a bounded number at once, and keeps the answers for a while."""

    def __init__(self, guard: Guard, settings: Fetch, measure: Callable[[str, float], None]) -> None:
        self._guard, self._measure = guard, measure
        self._dns = aiodns.DNSResolver(settings.name_servers or None, timeout=5, tries=2)
        self._slots = asyncio.Semaphore(settings.dns_lookups)
        self._kept: OrderedDict[tuple[str, int], tuple[float, list[ResolveResult]]] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        kept = self._kept.get((host, port))
        if kept is None or kept[0] < time.monotonic():
            kept = time.monotonic() + _NAME_SECONDS, await self._ask(host, port, family)
            self._kept[host, port] = kept
            if len(self._kept) > _NAMES_KEPT:
                self._kept.popitem(last=False)
        return kept[1]

    async def close(self) -> None:
        await self._dns.close()

    async def _ask(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        async with self._slots:
            began = time.perf_counter()
            try:
                found = await self._dns.getaddrinfo(host, port=port, family=family, type=socket.SOCK_STREAM)
            except aiodns.error.DNSError as error:
                reason = Reason.DNS_NOT_FOUND if error.args[0] in _NO_SUCH_NAME else Reason.DNS_FAILED
                raise Lost(reason, host[:80]) from error
            except UnicodeError as error:
                raise Lost(Reason.BAD_URL, host[:80]) from error
            finally:
                self._measure("dns_seconds", time.perf_counter() - began)
        return [self._result(host, node) for node in found.nodes]

    def _result(self, host: str, node: Any) -> ResolveResult:
        address, port = node.addr[0].decode(), node.addr[1]
        self._guard.address(address)  # one address inside makes the whole name suspect
        return ResolveResult(
            hostname=host, host=address, port=port, family=node.family, proto=0, flags=socket.AI_NUMERICHOST
        )


def _lost(error: Exception) -> Lost:
    said = f"{type(error).__name__}: {error}"[:120]
    number = getattr(error, "errno", None)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Lost(Reason.TLS_FAILED, said)
    if isinstance(error, TimeoutError):
        return Lost(Reason.TIMED_OUT, said)
    if number in _UNREACHABLE:
        return Lost(Reason.NETWORK_UNREACHABLE, said)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Lost(Reason.BAD_RESPONSE if _malformed(error) else Reason.CUT_SHORT, said)
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return Lost(Reason.BAD_RESPONSE, said)
    return Lost(Reason.CONNECT_FAILED, said)


def _malformed(error: BaseException) -> bool:
    # An end that comes too early and a chunk that makes no sense arrive as the same kind of error.
    cause = error.__cause__ or error
    return not isinstance(cause, ContentLengthError) and "Not enough data" not in str(cause)
