"""An object store and Iceberg tables in memory: each operation yields once, then happens as a whole."""

import zlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Proc = Generator[str, None, T]


class Object(NamedTuple):
    """A stored object; its tag is never used twice."""

    body: Any
    tag: int
    at: int


class Main(NamedTuple):
    """What a main table says of a key; `commit` changes with every swap, `origin` only when another run comes in."""

    run: str
    fingerprint: str
    sealed: str
    files: tuple[str, ...]
    identity: str
    content: str
    source: str
    token: str
    commit: int
    origin: int


class Side(NamedTuple):
    """What a side table holds of a key: files by run, and the commit that appended last."""

    token: str = ""
    files: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Table:
    """One snapshot of a table."""

    epoch: int = 0
    keys: Mapping[str, Any] = field(default_factory=dict)


def digest(value: Any) -> str:
    """A short hash of a value, the same in every process."""
    return f"{zlib.crc32(repr(value).encode()):08x}"


@dataclass
class Store:
    """Objects, tables and the clock that ages them."""

    objects: dict[str, Object] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    replaced: list[tuple[int, str, str, Main]] = field(default_factory=list)
    worked: Counter[tuple[str, int]] = field(default_factory=Counter)  # how often each part of a run was made
    takeovers: Counter[str] = field(default_factory=Counter)  # of leases of a run from attempts that had not ended
    clock: int = 0
    serial: int = 0
    lose: bool = False  # the next conditional write succeeds, and its client hears that it did not

    def number(self) -> int:
        """A number never given before."""
        self.serial += 1
        return self.serial

    def _set(self, path: str, body: Any) -> bool:
        self.objects[path] = Object(body, self.number(), self.clock)
        heard, self.lose = not self.lose, False
        return heard

    def create(self, path: str, body: Any) -> Proc[bool]:
        """Put an object that does not exist."""
        yield f"create {path}"
        return path not in self.objects and self._set(path, body)

    def replace(self, path: str, body: Any, tag: int | None) -> Proc[bool]:
        """Put an object that still has this tag (None: that does not exist)."""
        yield f"replace {path}"
        found = self.objects.get(path)
        return (found.tag if found else None) == tag and self._set(path, body)

    def put(self, path: str, body: Any) -> Proc[None]:
        """Put without a condition; only version 1 and what is outside the lake do this."""
        yield f"put {path}"
        self.objects[path] = Object(body, self.number(), self.clock)

    def read(self, path: str) -> Proc[Object | None]:
        """An object with its tag and time."""
        yield f"read {path}"
        return self.objects.get(path)

    def list(self, prefix: str) -> Proc[list[str]]:
        """The paths below a prefix."""
        yield f"list {prefix}"
        return sorted(path for path in self.objects if path.startswith(prefix))

    def delete(self, path: str) -> Proc[None]:
        """Remove an object, whatever its tag."""
        yield f"delete {path}"
        self.objects.pop(path, None)

    def table(self, name: str) -> Proc[Table]:
        """The newest snapshot of a table."""
        yield f"load {name}"
        return self.tables.get(name, Table())

    def swap(self, name: str, key: str, change: Callable[[Table], Any]) -> Proc[bool]:
        """Replace what a table says of a key by what `change` makes of its newest snapshot; None refuses."""
        yield f"swap {name} {key}"
        now = self.tables.get(name, Table())
        new = change(now)
        if new is None:
            return False
        if isinstance(old := now.keys.get(key), Main):
            self.replaced.append((self.clock, name, key, old))
        self.tables[name] = Table(now.epoch, {**now.keys, key: new})
        heard, self.lose = not self.lose, False
        return heard

    def move_base(self, name: str) -> Proc[None]:
        """Count up the epoch of a table: what has read it before can no longer swap."""
        yield f"move {name}"
        now = self.tables.get(name, Table())
        self.tables[name] = Table(now.epoch + 1, now.keys)
