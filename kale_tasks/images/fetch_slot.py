"""Shares the request limits of web hosts among all tasks that fetch into one lake, on whatever machines they run."""

import contextlib
import threading
import time
import uuid
from datetime import datetime

from kale_tasks.lake.storage.base import Storage

FOLDER = "fetch-slots"
_RENEW_SECONDS = 1.0
_VALID_SECONDS = 2.5  # after a renewal; a task that cannot renew sends nothing
_SETTLE_SECONDS = 5.0  # how long a new task waits: the others see it within _VALID_SECONDS, then close connections
_LEASE_SECONDS = 10.0  # a slot that has not changed for so long is free: its owner has died


class FetchSlot:
    """One of a fixed number of slots, held while a task fetches: a file in the store that its owner renews.

    Each of n tasks that hold a slot may use 1/n of the limits of a host, so that together they stay within them. There
    are as many slots as connections to one host are permitted; a further task waits. Ages are measured by this
    process as the time since it saw a file change, so clocks need not agree.
    """

    def __init__(self, storage: Storage, slots: int) -> None:
        self._storage, self._slots = storage, slots
        self._owner, self._renewals = uuid.uuid4().hex, 0
        self._path, self._tag = "", ""
        self._seen: dict[str, tuple[datetime, float]] = {}
        self._ended = threading.Event()
        self._valid_until = 0.0
        self.tasks = 1  # how many hold a slot, this one included

    def __enter__(self) -> "FetchSlot":
        self._acquire()
        self._thread = threading.Thread(target=self._renew_until_the_end, name="fetch-slot", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        # While it is valid, nobody can have taken it.
        if self._path and (self.valid or self._storage.tag(self._path) == self._tag):
            self._storage.delete(self._path)

    @property
    def valid(self) -> bool:
        """Whether `tasks` is known well enough to send a request now."""
        return time.monotonic() < self._valid_until

    def _acquire(self) -> None:
        while not self._ended.is_set() and not self._take_one():
            self._ended.wait(_RENEW_SECONDS)
        self.tasks = 1 + len(self._others())
        if self.tasks > 1:
            self._ended.wait(_SETTLE_SECONDS)
            self.tasks = 1 + len(self._others())  # more may have come meanwhile
        self._valid_until = time.monotonic() + _VALID_SECONDS

    def _take_one(self) -> bool:
        live = self._others()
        for number in range(self._slots):
            path = f"{FOLDER}/slot-{number:03d}"
            if path not in live and self._put(path, self._storage.tag(path) if path in self._seen else None):
                return True
        return False

    def _put(self, path: str, tag: str | None) -> bool:
        self._renewals += 1
        if not self._storage.put_if(path, f"{self._owner} {self._renewals}\n".encode(), tag):
            return False
        self._path, self._tag = path, self._storage.tag(path) or ""
        return True

    def _others(self) -> set[str]:
        """Return the slots of others that may be alive: those not yet seen unchanged for the time of a lease."""
        now, found = time.monotonic(), set()
        for entry in self._storage.entries(FOLDER):
            if not entry.path.startswith(f"{FOLDER}/slot-"):
                continue
            modified, since = self._seen.get(entry.path, (None, now))
            if modified != entry.modified:
                since = now
                self._seen[entry.path] = (entry.modified, now)
            if entry.path != self._path and now - since < _LEASE_SECONDS:
                found.add(entry.path)
        return found

    def _renew_until_the_end(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            with contextlib.suppress(Exception):  # the store may be down; until it is back, nothing is sent
                began = time.monotonic()
                if not self._put(self._path, self._tag):
                    self._path = ""
                    self._acquire()
                    continue
                self.tasks = 1 + len(self._others())
                self._valid_until = began + _VALID_SECONDS
