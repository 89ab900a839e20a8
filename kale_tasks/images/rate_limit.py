"""Limits on how often, and how many at once, requests are sent to a host, and on the memory that bodies take."""

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.settings.images import Fetch

_T = TypeVar("_T")
_BURST_SECONDS = 0.05  # unused request slots of this last interval may be used at once
_PAUSE_SECONDS = 0.2
KEEP_SECONDS = 2.0  # most that an idle connection is kept; with the time to see a new task, less than that one waits


class Share(Protocol):
    """How many tasks share the limits of a host, and whether that is known at the moment."""

    @property
    def tasks(self) -> int:
        """The number of tasks, this one included."""

    @property
    def valid(self) -> bool:
        """Whether requests may be sent."""


@dataclass
class Alone:
    """A task that shares the limits of hosts with no other."""

    tasks: int = 1
    valid: bool = True


class HostLimit:
    """The request limits of one host: a token bucket, a cap on open requests, and pauses that the host asked for.

    The limits are divided by the number of tasks that fetch at the same time.
    """

    def __init__(self, settings: Fetch, share: Share) -> None:
        self._settings, self._share = settings, share
        self._interval = 1.0 / settings.host_rate  # between two requests of all tasks
        self._next_request = 0.0  # in the event loop's time
        self._began: float | None = None
        self._open, self._changed = 0, asyncio.Condition()
        self._tasks, self._shrunk = share.tasks, float("-inf")  # and when another task took a part of the limits

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until one request may be sent, and count it as open while the block runs.

        Raises ImageError (busy) when the wait would exceed `patience_seconds`, when the host asks for longer delays
        than that, or when `host_seconds` have passed since the first request.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._open < self._most_open)
            self._open += 1
        try:
            await self._wait()
            yield
        finally:
            async with self._changed:
                self._open -= 1
                self._changed.notify_all()

    @property
    def keeps_connections(self) -> bool:
        """Whether connections may stay open after a request: not while there may be more than our share."""
        now = asyncio.get_running_loop().time()
        if self._share.tasks > self._tasks:
            self._shrunk = now
        self._tasks = self._share.tasks
        return now - self._shrunk > KEEP_SECONDS

    def pause(self, seconds: float) -> None:
        """Send nothing to this host for this many seconds."""
        self._next_request = max(self._next_request, asyncio.get_running_loop().time() + seconds)

    def slow_down(self, delay: float) -> None:
        """Keep at least `delay` seconds between two requests."""
        self._interval = max(self._interval, delay)

    @property
    def _most_open(self) -> int:
        return max(1, self._settings.host_concurrency // self._share.tasks)

    async def _wait(self) -> None:
        loop, patience = asyncio.get_running_loop(), self._settings.patience_seconds
        if self._began is None:
            self._began = loop.time()
        if self._interval > max(patience, 1.0 / self._settings.host_rate):
            raise ImageError(Reason.BUSY, f"asks for {self._interval:.0f} s between two requests")
        if loop.time() - self._began > self._settings.host_seconds:
            raise ImageError(Reason.BUSY, f"not done after {self._settings.host_seconds:.0f} s")
        while (wait := self._next_request - loop.time()) > 0 or not self._share.valid:
            if wait > patience + self._interval * self._share.tasks:
                raise ImageError(Reason.BUSY, f"asks for {wait:.0f} s")
            await asyncio.sleep(max(wait, _PAUSE_SECONDS) if not self._share.valid else wait)
        interval = self._interval * self._share.tasks
        self._next_request = max(self._next_request, loop.time() - _BURST_SECONDS) + interval


class HostQueues(Generic[_T]):
    """Items that wait for a worker, in a queue for each host: a slow host occupies few workers and delays no other."""

    def __init__(self, workers_per_host: int, most: int) -> None:
        self._workers_per_host, self._most = workers_per_host, most
        self._waiting: defaultdict[Hashable, deque[_T]] = defaultdict(deque)
        self._ready: deque[Hashable] = deque()  # hosts that have items and may get another worker
        self._active: defaultdict[Hashable, int] = defaultdict(int)
        self._count, self._closed = 0, False
        lock = asyncio.Lock()
        self._room, self._work = asyncio.Condition(lock), asyncio.Condition(lock)

    async def put(self, host: Hashable, item: _T) -> None:
        """Add an item; waits while there are as many items as permitted."""
        async with self._room:
            await self._room.wait_for(lambda: self._count < self._most)
            self._count += 1
            self._waiting[host].append(item)
            if len(self._waiting[host]) == 1:
                self._offer(host)

    async def close(self) -> None:
        """Say that no further item will come."""
        async with self._work:
            self._closed = True
            self._work.notify_all()

    async def take(self) -> tuple[Hashable, _T] | None:
        """Return the next item and its host, for which `done` must be called; None when all are taken."""
        async with self._work:
            await self._work.wait_for(lambda: self._ready or (self._closed and not self._count))
            if not self._ready:
                return None
            host = self._ready.popleft()
            item = self._waiting[host].popleft()
            self._count -= 1
            self._active[host] += 1
            if self._waiting[host]:
                self._offer(host)
            self._room.notify_all()
            if self._closed and not self._count:
                self._work.notify_all()
            return host, item

    async def done(self, host: Hashable) -> None:
        """Give the worker of a host free."""
        async with self._work:
            self._active[host] -= 1
            if self._waiting[host] and self._active[host] == self._workers_per_host - 1:
                self._offer(host)
            elif not self._active[host] and not self._waiting[host]:
                del self._active[host], self._waiting[host]

    def _offer(self, host: Hashable) -> None:
        if self._active[host] < self._workers_per_host:
            self._ready.append(host)
            self._work.notify()


class ByteBudget:
    """A number of bytes shared by all open responses, of which `largest` are reserved for bodies that grow."""

    def __init__(self, total: int, largest: int) -> None:
        self._free = total
        self._reserve = min(largest, total // 2)
        self._most = total - self._reserve
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator["Held"]:
        """Wait until `size` bytes are free and hold them while the block runs."""
        held = Held(self)
        try:
            await self.take(held, min(size, self._most), self._reserve)
            yield held
        finally:
            async with self._changed:
                self._free += held.size
                self._changed.notify_all()

    async def take(self, held: "Held", size: int, left: int = 0) -> None:
        """Add bytes to those held, once they are free and `left` more would remain."""
        size = min(size, self._reserve) if not left else size
        async with self._changed:
            await self._changed.wait_for(lambda: self._free - left >= size)
            self._free -= size
            held.size += size


class Held:
    """Bytes held for one body."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self.size = budget, 0

    async def grow(self, size: int) -> None:
        """Hold `size` bytes in all. Call it once: a body that waits twice could wait for itself."""
        if size > self.size:
            await self._budget.take(self, size - self.size)


def backoff(attempt: int) -> float:
    """Seconds to wait after a failed attempt (counted from 1): exponential, with jitter."""
    return random.uniform(0.2, 0.5 * 3.0**attempt)
