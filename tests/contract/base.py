"""What every process of the model shares: the bodies of its objects, and how it opens and reads a lake."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.contract.steps import Part
from tests.contract.store import Main, Proc, Side, Store

TRIES = 4


class Conflict(Exception):
    """The world has moved on: the next try plans again."""


class Violation(AssertionError):
    """The protocol broke one of its promises."""


@dataclass(frozen=True)
class Plan:
    """The body of plan.json; `base` is the commit that a try found, and not stored in it."""

    path: str
    table: str
    key: str
    fingerprint: str
    source: str
    pins: tuple[tuple[str, str], ...]  # files of the inputs, each with the plan.json of the run that made it
    earlier: tuple[tuple[str, str], ...] = ()  # earlier keys with their index files
    because: frozenset[str] = frozenset()
    setting: int = 0
    id: str = ""
    base: int = field(default=0, compare=False)

    @property
    def run(self) -> str:
        """The name of the run: a plan that takes the place of another makes another run."""
        return f"{self.fingerprint}/{self.id}"

    @property
    def folder(self) -> str:
        """The folder of its files."""
        return self.path.replace("plan.json", self.id)


@dataclass(frozen=True)
class Retired:
    """A plan that maintenance has withdrawn: nothing of it may be committed any more."""

    plan: Plan
    by: str


@dataclass(frozen=True)
class Sealed:
    """The body of run.json, or of a revision that a takedown made of it."""

    run: str
    plan: str
    files: tuple[str, ...]
    index: str
    quarantine: str
    account: tuple[int, int, int, int]
    identity: str
    content: str
    because: frozenset[str]
    landed: str
    first: str = ""  # a revision names the run.json that it comes from


@dataclass
class Process:
    """What one process knows: its store, its lake, its settings, and which faults of version 1 are put back."""

    store: Store
    root: str = "A"
    under: str = ""
    owner: str = "task"  # the same for each try of a task
    attempt: int = 0  # this try
    bugs: frozenset[str] = frozenset()
    setting: int = 0
    pieces: int = 2
    request: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    home: str = ""
    known: frozenset[int] | None = None  # the takedown list as version 1 keeps it
    plan: Plan | None = None
    saw: int = 0  # the commit that was current when this try planned
    made: list[tuple[Any, ...]] = field(default_factory=list)

    def name(self, table: str) -> str:
        """The full name of a table, where the catalog of this lake says that it is."""
        return f"{self.home}:{table}"


def open_lake(p: Process) -> Proc[None]:
    """Refuse a copy: lake.json must name the place where it was found."""
    lake = yield from p.store.read(f"{p.under or p.root}/lake.json")
    assert lake is not None
    if lake.body["root"] != (p.under or p.root) and "copy-unchecked" not in p.bugs:
        p.seen["copy refused"] += 1
        raise Conflict("a copied lake: relocate it first")
    p.home = p.root if p.under else lake.body["tables"]


def base_of(p: Process, main: Main | None) -> int:
    """What a commit compares with: a number that no later commit of the key has, even of the same run."""
    if "base-by-name" in p.bugs and main:
        return int(main.fingerprint, 16)
    return main.origin if main else 0


def main_of(p: Process, table: str, key: str) -> Proc[Main | None]:
    """The current commit of a key; a preview falls back to the real lake."""
    found = (yield from p.store.table(p.name(table))).keys.get(key)
    if found is None and p.under:
        return (yield from p.store.table(f"{p.under}:{table}")).keys.get(key)
    return found


def need(p: Process, path: str) -> Proc[Any]:
    """Read a file that a live plan counts on; only the end of a takedown may have taken it away."""
    found = yield from p.store.read(path)
    if found is not None:
        return found.body
    own = p.store.objects.get(p.plan.path) if p.plan else None
    ended = any("/ended/" in known for known in p.store.objects)
    if p.plan and own and isinstance(own.body, Plan) and own.body.id == p.plan.id:
        if not ended:
            raise Violation(f"{path} of a live plan is gone")
        yield from p.store.replace(p.plan.path, Retired(p.plan, p.owner), own.tag)
    raise Conflict(f"{path} is gone")


def indices(p: Process) -> Proc[dict[str, tuple[Main, str]]]:
    """The index file of every key's committed run: main first; a run without its file has been replaced meanwhile."""
    for _ in range(TRIES):
        mains = (yield from p.store.table(p.name("pairs"))).keys
        sides = (yield from p.store.table(p.name("index"))).keys
        found = {k: [path for run, path in sides.get(k, Side()).files if run == m.run] for k, m in mains.items()}
        if "side-decides" in p.bugs:
            found = {k: [path for _, path in sides.get(k, Side()).files] for k in mains}
        if all(found.values()):
            return {key: (mains[key], paths[0]) for key, paths in found.items()}
    raise Conflict("the index moves too fast")


def plan_path(p: Process, table: str, key: str, main: Main) -> str:
    """The plan.json of a committed run; found from the place of its files."""
    return f"{main.sealed.split('/')[0]}/runs/{table}/{key}/{main.fingerprint}/plan.json"


def rows_of(body: Part | tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """The rows of a file, be it a part or merged."""
    return body.rows if isinstance(body, Part) else body
