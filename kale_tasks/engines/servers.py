"""Chooses a server for each request, and keeps requests away from servers that fail."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kale_tasks.errors import BadConfig, Transient

_LONGEST_REST = 60.0
_POLL_SECONDS = 0.05


@dataclass
class Server:
    """One endpoint and what is known about it."""

    url: str
    open: int = 0
    failures: int = 0  # since its last answer
    rests_until: float = 0.0  # after a failure, or because it said so
    last_success: float = 0.0
    refusal: str = ""  # why it will never answer: a wrong address, key or model

    def is_available(self, now: float) -> bool:
        """Whether it may get a request. A server that failed gets a single one after its rest, as a probe."""
        return not self.refusal and now >= self.rests_until and (not self.failures or not self.open)


class Servers:
    """The servers of one model. A server that fails `tries` times in a row counts as down."""

    def __init__(self, urls: Sequence[str], tries: int) -> None:
        self._servers = [Server(url.rstrip("/")) for url in urls]
        self._tries = tries

    async def choose(self) -> Server:
        """Wait for an available server and return the least busy one.

        Raises BadConfig if all of them refuse requests, Transient if those that do not are down.
        """
        while True:
            now = time.monotonic()
            if available := [server for server in self._servers if server.is_available(now)]:
                return min(available, key=lambda server: server.open)
            self._check()
            rest = min(server.rests_until for server in self._servers if not server.refusal) - now
            await asyncio.sleep(min(max(rest, _POLL_SECONDS), 1.0))

    def answered_since(self, moment: float) -> bool:
        """Whether any server has answered a request since a moment of the monotonic clock."""
        return any(server.last_success >= moment for server in self._servers)

    @contextmanager
    def request(self, server: Server) -> Iterator[None]:
        """Count a request to a server while it lasts."""
        server.open += 1
        try:
            yield
        finally:
            server.open -= 1

    def succeed(self, server: Server) -> None:
        """Note that a server answered."""
        if server.failures:
            server.failures, server.rests_until = 0, 0.0
        server.last_success = time.monotonic()

    def fail(self, server: Server, sent: float) -> None:
        """Note that a server did not answer a request sent at that time: it rests, longer each time.

        Has no effect on a server that has answered other requests since.
        """
        now = time.monotonic()
        if server.last_success >= sent:
            return
        if now >= server.rests_until:  # requests that were under way when it failed count once
            server.failures += 1
            server.rests_until = now + random.uniform(0.5, 1) * min(_LONGEST_REST, 0.5 * 2**server.failures)
        self._check()

    def rest(self, server: Server, seconds: float) -> None:
        """Send nothing to a server for as long as it asked for."""
        server.rests_until = max(server.rests_until, time.monotonic() + seconds)

    def refuse(self, server: Server, reason: str) -> None:
        """Note that a server will answer no request at all; the others take over."""
        server.refusal = reason
        self._check()

    def _check(self) -> None:
        left = [server for server in self._servers if not server.refusal]
        if not left:
            raise BadConfig(" ".join(server.refusal for server in self._servers))
        if all(server.failures >= self._tries for server in left):
            urls = ", ".join(server.url for server in left)
            raise Transient(f"{urls} did not answer {self._tries} times in a row. Finished parts are kept; try again.")
