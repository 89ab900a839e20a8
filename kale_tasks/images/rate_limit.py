"""Limits on how often, and how many at once, requests are sent to a host, and on the memory that bodies take."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.settings.images import Fetch

_BURST_SECONDS = 0.25  # unused request slots of this last interval may be used at once


class HostLimit:
    """The request limits of one host: a token bucket, a cap on open requests, and pauses that the host asked for."""

    def __init__(self, settings: Fetch) -> None:
        self._settings = settings
        self._interval = 1.0 / settings.host_rate
        self._next_request = 0.0  # in the event loop's time
        self._open = asyncio.Semaphore(settings.host_concurrency)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until one request may be sent, and count it as open while the block runs.

        Raises ImageError (busy) when the wait would exceed `patience_seconds`.
        """
        async with self._open:
            while (wait := self._next_request - asyncio.get_running_loop().time()) > 0:
                if wait > self._settings.patience_seconds:
                    raise ImageError(Reason.BUSY, f"asks for {wait:.0f} s")
                await asyncio.sleep(wait)
            now = asyncio.get_running_loop().time()
            self._next_request = max(self._next_request, now - _BURST_SECONDS) + self._interval
            yield

    def pause(self, seconds: float) -> None:
        """Send nothing to this host for this many seconds."""
        self._next_request = max(self._next_request, asyncio.get_running_loop().time() + seconds)

    def slow_down(self, delay: float) -> None:
        """Keep at least `delay` seconds between two requests (capped at `patience_seconds`)."""
        self._interval = max(self._interval, min(delay, self._settings.patience_seconds))


class ByteBudget:
    """A number of bytes shared by all open responses."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free and hold them while the block runs; capped at the whole budget."""
        size = min(size, self._total)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


def backoff(attempt: int) -> float:
    """Seconds to wait after a failed attempt (counted from 1): exponential, with jitter."""
    return random.uniform(0.2, 0.5 * 3.0**attempt)
