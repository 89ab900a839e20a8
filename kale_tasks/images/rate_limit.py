"""Politeness: how often and how many at once a host is asked, and how long we wait when it says so."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.settings.images import Fetch

_BURST_SECONDS = 0.25  # what a host was not asked in this time may be made up for at once


class Host:
    """One host's turn-taking: a token bucket, a limit of open requests, and pauses it asked for."""

    def __init__(self, settings: Fetch) -> None:
        self._settings = settings
        self._interval = 1.0 / settings.host_rate
        self._due = 0.0
        self._open = asyncio.Semaphore(settings.host_concurrency)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for our turn to send one request; Lost when the host wants us to wait longer than our patience."""
        async with self._open:
            while (wait := self._due - asyncio.get_running_loop().time()) > 0:
                if wait > self._settings.patience_seconds:
                    raise Lost(Reason.BUSY, f"asks for {wait:.0f} s")
                await asyncio.sleep(wait)
            now = asyncio.get_running_loop().time()
            self._due = max(self._due, now - _BURST_SECONDS) + self._interval
            yield

    def pause(self, seconds: float) -> None:
        """Ask nothing of this host for so long."""
        self._due = max(self._due, asyncio.get_running_loop().time() + seconds)

    def slow_down(self, delay: float) -> None:
        """Keep at least so many seconds between two requests."""
        self._interval = max(self._interval, min(delay, self._settings.patience_seconds))


class Budget:
    """A shared allowance of bytes; who wants some waits until they are free."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, wanted: int) -> AsyncIterator[None]:
        """Hold some bytes; everything at most, so that no wish can wait for ever."""
        wanted = min(wanted, self._total)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._changed:
                self._free += wanted
                self._changed.notify_all()


def backoff(attempt: int) -> float:
    """Seconds before the next try: longer each time, and never the same for two."""
    return random.uniform(0.2, 0.5 * 3.0**attempt)
