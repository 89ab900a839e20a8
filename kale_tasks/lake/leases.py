"""Leases on chunks of a run: they save work that two attempts would do twice. Receipts alone keep rows correct."""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass

from kale_tasks.errors import KaleError, Transient
from kale_tasks.lake.storage.base import Storage
from kale_tasks.process import is_working, machine, started_at

TERM_SECONDS = 60.0  # a lease that was not renewed for so long is free
_RENEW_SECONDS = 15.0
_FIRST_POLL, _LAST_POLL = 0.1, 10.0  # seconds between two looks at a lease that is waited for
_PATIENCE = 0.2  # of the time waited so far, until the next look
_FOLDER = "leases"
TASK = "KALE_TASK"  # environment variable: what the tries of one task of a scheduler have in common
_attempts: set[str] = set()  # tokens of this process whose attempts have not ended


@dataclass(frozen=True)
class Holder:
    """Who holds a lease; a free one has no token."""

    token: str = ""  # of this attempt
    task: str = ""  # of a scheduler, the same for each of its tries; empty: a command of a person
    machine: str = ""
    pid: int = 0
    born: float = 0.0

    @property
    def name(self) -> str:
        """How messages name the holder."""
        return self.task or f"process {self.pid}"

    def has_left(self, task: str) -> bool:
        """Whether the lease is free before its term, for a try of this task: its holder gave it up or is gone."""
        return not self.token or self._is_gone() or bool(task and task == self.task)

    def _is_gone(self) -> bool:
        if self.machine != machine():
            return False
        ended = self.pid == os.getpid() and self.token not in _attempts  # and could not give it up
        return ended or not is_working(self.pid, self.born)


def _text(holder: Holder, renewals: int) -> bytes:
    # With the number, each renewal has other content: after a lost answer, the store shows whether it arrived.
    return json.dumps({"holder": asdict(holder), "renewals": renewals}).encode()


def is_lease(path: str) -> bool:
    """Whether a file in the folder of a run belongs to its leases."""
    return f"/{_FOLDER}/" in path


class Lease:
    """One attempt's lease on one chunk, or on all chunks of a run; `Renewals` keep it.

    Its next try takes over from a task at once, and anyone does from a process of this machine that has ended or is
    stopped. Otherwise the time of the file decides, compared with that of a new file: one clock, that of the store.
    """

    def __init__(self, storage: Storage, run: str, chunks: Sequence[int]) -> None:
        self._storage, self._folder = storage, f"{run}/{_FOLDER}"
        self.paths = [f"{self._folder}/{chunk:05d}.json" for chunk in chunks]
        self._token, self._task = uuid.uuid4().hex, os.environ.get(TASK, "")
        self._renewals = 0
        self._renewed = 0.0
        self._young_until: dict[str, float] = {}  # when the term of another's lease can be over at the earliest

    def take(self) -> str:
        """Take all chunks if they are free. Returns the name of the holder of one that is not, or nothing."""
        began = time.monotonic()
        _attempts.add(self._token)
        for path in self.paths:
            tag = self._storage.tag(path)
            found = self._holder(path) if tag else Holder()
            free = found.has_left(self._task) or self._is_over(path)
            if found.token != self._token and not (free and self._put(path, tag)):
                self.give_up()
                return self._holder(path).name
        self._renewed = began
        return ""

    @property
    def held(self) -> bool:
        """Whether nobody else can have taken it: it was renewed within its term. Asks the store nothing."""
        return time.monotonic() - self._renewed < TERM_SECONDS

    def wait(self, is_done: Callable[[], bool], say: Callable[[str], None]) -> bool:
        """Wait until the chunks are free and take them; False if their work is done before that."""
        began, waited = time.monotonic(), 0.0
        while holder := self.take():
            if not waited:
                say(f"{holder} works on this chunk. Waiting until it has finished or has given up.")
            time.sleep(min(max(_PATIENCE * waited, _FIRST_POLL), _LAST_POLL))
            if is_done():
                return False
            waited = time.monotonic() - began
        return True

    def check(self) -> None:
        """Raise Transient if another attempt has taken over, as it does when this one could not renew in time."""
        for path in self.paths:
            if (found := self._holder(path)).token != self._token:
                raise Transient(
                    f"{found.name if found.token else 'Another attempt'} took over the work of this process, which did "
                    f"not renew its lease for {TERM_SECONDS:.0f} s or was started again. Finished parts are kept; "
                    "run it again to wait for the rest."
                )

    def renew(self) -> None:
        """Renew it, unless another has taken it. If the store is down, `check` tells whether it was lost."""
        with suppress(KaleError, OSError):
            began = time.monotonic()
            if all([self._renew(path) for path in self.paths]):
                self._renewed = began

    def end(self) -> None:
        """Give it up. If the store is down, it ends by itself."""
        _attempts.discard(self._token)
        with suppress(KaleError, OSError):
            self.give_up()

    def give_up(self) -> None:
        """Let others have the chunks that are held."""
        for path in self.paths:
            tag = self._storage.tag(path)
            if self._holder(path).token == self._token:
                self._storage.put_if(path, _text(Holder(), 0), tag)

    def _put(self, path: str, tag: str | None) -> bool:
        self._renewals += 1
        pid = os.getpid()
        mine = Holder(self._token, self._task, machine(), pid, started_at(pid))
        return self._storage.put_if(path, _text(mine, self._renewals), tag)

    def _holder(self, path: str) -> Holder:
        try:
            return Holder(**json.loads(self._storage.read(path))["holder"])
        except FileNotFoundError:
            return Holder()

    def _is_over(self, path: str) -> bool:
        """Whether the term of another's lease is over. Asks the store only when it can be."""
        now = time.monotonic()
        if now < self._young_until.get(path, now):
            return False
        age = self._age(path)
        self._young_until[path] = now + TERM_SECONDS - age
        return age > TERM_SECONDS

    def _age(self, path: str) -> float:
        """Seconds since the last renewal, by the store's clock."""
        probe = f"{self._folder}/now-{self._token}"
        self._storage.put(probe, b"")
        times = {entry.path: entry.modified for entry in self._storage.entries(self._folder)}
        self._storage.delete(probe)
        return (times[probe] - times[path]).total_seconds() if path in times else 0.0

    def _renew(self, path: str) -> bool:
        tag = self._storage.tag(path)  # before the holder is read: if it is this one, the tag is of its own lease
        return self._holder(path).token == self._token and self._put(path, tag)


class Renewals:
    """Renews leases until the end of a block, and gives them up then. One thread does it, however many they are."""

    def __init__(self, *leases: Lease) -> None:
        self._leases = list(leases)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_the_end, name="leases", daemon=True)

    def __enter__(self) -> "Renewals":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        _each(self._leases, Lease.end)

    def add(self, lease: Lease) -> None:
        """Renew one more."""
        self._leases.append(lease)

    def _renew_until_the_end(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            _each(list(self._leases), Lease.renew)


def _each(leases: Sequence[Lease], act: Callable[[Lease], None]) -> None:
    if len(leases) == 1:
        act(leases[0])
        return
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, leases))
