"""A world for the model: starts, interleaves and crashes processes, and looks at the lake after every operation."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.contract import upkeep
from tests.contract.base import Conflict, Process, Violation
from tests.contract.model import TTL, run
from tests.contract.promises import Promises
from tests.contract.steps import undisturbed
from tests.contract.store import Object, Proc, digest

LANDING = {
    "1": [(10, 3, 7, 20), (23, 3, 7, 20), (10, 99, 33, 20)],
    "2": [(11, 30, 5, 43), (12, 40, 5, 14)],
    "3": [(12, 31, 14, 50), (13, 44, 21, 60)],
}
KEYS = sorted(LANDING)
ROWS = (10, 11, 30, 12, 7)  # what may be taken down
WRITES = ("create", "replace", "put", "delete", "swap", "move")
WANTED = ("", WRITES, "swap", "")
Action = tuple[str, int, int, int]


@dataclass
class Live:
    """A process under way."""

    kind: str
    argument: int
    process: Process
    steps: Proc[None]
    label: str = ""


@dataclass
class World(Promises):
    """One lake and all that happens to it."""

    bugs: frozenset[str] = frozenset()
    live: list[Live] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    setting: int = 0

    def __post_init__(self) -> None:
        for path, body in (("lake.json", {"root": "A", "tables": "A"}), ("published", ()), ("promoted", 3)):
            self.store.objects[f"A/{path}"] = Object(body, self.store.number(), 0)
        for key in KEYS:
            self.deliver(key, 0)

    def deliver(self, key: str, variant: int) -> None:
        """Put other files into the landing of a key."""
        rows = LANDING[key][variant % len(LANDING[key])]
        self.landed[digest(rows)] = rows
        self.store.objects[f"landing/{key}"] = Object(rows, self.store.number(), self.store.clock)

    def start(self, kind: str, argument: int, variant: int = 0) -> Live:
        """Begin a process; one of the same kind, argument and variant is the next try of the same task."""
        key = KEYS[argument % len(KEYS)]
        p = Process(
            self.store, owner=f"{kind}-{key}-{variant % 2}", attempt=self.store.number(), bugs=self.bugs,
            setting=self.setting ^ (variant == 3), pieces=(2, 1, 3, 1)[variant], seen=self.seen, made=self.made,
        )  # fmt: skip
        live = Live(kind, argument, p, self._program(p, kind, key, argument))
        self.live.append(live)
        return live

    def _program(self, p: Process, kind: str, key: str, argument: int) -> Proc[None]:
        if kind in ("pairs", "captions"):
            return run(p, kind, key)
        if kind == "copy":
            self.store.objects["B/lake.json"] = Object({"root": "A", "tables": "A"}, self.store.number(), 0)
            p.root = "B"
            return run(p, "pairs", key)
        return self._beside(p, kind, key, argument)

    def _beside(self, p: Process, kind: str, key: str, argument: int) -> Proc[None]:
        old = [main for _, name, k, main in self.store.replaced if (name, k) == ("A:pairs", key)]
        nothing = (kind == "end" and not self.done) or (kind == "rollback" and not old)
        nothing |= kind == "step back" and self.seen["asked to step back"] > 0
        self.seen["asked to step back"] += kind == "step back"
        row = ROWS[argument % len(ROWS)]
        if kind == "takedown":
            self.asked.add(row)
        p.request = f"{argument % 2}" if kind == "again" else ""
        begin: dict[str, Callable[[], Proc[None]]] = {
            "takedown": lambda: upkeep.take_down(p, row),
            "end": lambda: upkeep.end_takedown(p, min(self.done)),
            "again": lambda: upkeep.again(p, key),
            "rollback": lambda: upkeep.roll_back(p, key, old[-1]),
            "step back": lambda: upkeep.step_back(p, 2),
            "read": lambda: upkeep.read(p, ("pairs", "captions")[argument % 2], key),
            "release": lambda: upkeep.release(p),
            "maintain": lambda: upkeep.maintain(p),
            "accept": lambda: upkeep.accept(p),
            "preview": lambda: upkeep.preview(p, key),
        }
        return begin["accept" if nothing else kind]()

    def step(self, live: Live, times: int) -> bool:
        """Let a process go on: for n operations, to its n-th write (100 + n) or swap (200 + n; 300: past it)."""
        if times > 300 and not self.step(live, times - 100):
            return False
        wanted, left = WANTED[times // 100], 1 if times > 300 else times % 100
        while left:
            before = live.label
            try:
                live.label = next(live.steps)
            except (StopIteration, Conflict) as end:
                self._ended(live, end)
                self.inspect()
                return False
            left -= live.label.startswith(wanted)
            if before.startswith(WRITES[1:]):  # what is created is seen by nobody before another write
                self.inspect()
        return True

    def _ended(self, live: Live, end: Exception) -> None:
        self.live.remove(live)
        self.seen["conflicts"] += isinstance(end, Conflict)
        if isinstance(end, StopIteration) and live.kind == "takedown":
            row = ROWS[live.argument % len(ROWS)]
            self.done.add(row)
            self.seen["takedown beside a commit"] += any(" A:" in o.label or "pending" in o.label for o in self.live)

    def crash(self, live: Live) -> None:
        """Kill a process between two of its operations."""
        self.live.remove(live)
        live.steps.close()
        self.seen["crashes"] += 1
        self.seen["crashes between side and main"] += live.label.startswith("swap A:pairs")
        self.seen["crashes after main"] += live.label.startswith(("load A:index", "swap A:index")) and any(
            "pending" in path for path in self.store.objects
        )

    def act(self, action: Action) -> None:
        """One drawn action."""
        kind, argument, variant, times = action
        if kind == "tick":
            self.store.clock += (1, TTL + 1, upkeep.GRACE + 1)[argument % 3]
        elif kind == "deliver":
            self.deliver(KEYS[argument % len(KEYS)], variant)
        elif kind == "set":
            self.setting ^= 1
        elif kind == "lose":
            self.store.lose = True
        elif kind in ("step", "crash"):
            if self.live:
                live = self.live[argument % len(self.live)]
                if self.step(live, times) and kind == "crash":
                    self.crash(live)
        elif kind == "there and back":
            key = KEYS[argument % len(KEYS)]
            back = LANDING[key].index(self.store.objects[f"landing/{key}"].body)
            for rows in (back + 1, back):
                self.deliver(key, rows)
                self.finish(self.start("pairs", argument))
        else:
            self.step(self.start(kind, argument, variant), times)

    def settle(self) -> None:
        """Let all come to rest: late processes end, every task gets its next try; then compare with a quiet lake."""
        for live in list(self.live):
            self.seen["late processes"] += 1
            self.finish(live)
        for row in sorted(self.asked):
            self.complete("takedown", ROWS.index(row))
        for path in [path for path in self.store.objects if "/holds/" in path]:
            del self.store.objects[path]
        for _ in range(9):
            before = (self.mains("pairs"), self.mains("captions"))
            for argument in range(len(KEYS)):
                self.complete("pairs", argument)
                if any(path.startswith("A/verdicts") and not o.body for path, o in self.store.objects.items()):
                    self.complete("accept", 0)
                    self.complete("pairs", argument)
                self.complete("captions", argument)
            marks = any("/marks/" in path for path in self.store.objects)
            if not marks and before == (self.mains("pairs"), self.mains("captions")):
                break
        self.complete("release", 0)
        self.store.clock += 2 * upkeep.GRACE
        self.complete("maintain", 0)
        self.compare()

    def complete(self, kind: str, argument: int) -> None:
        """Run a task to its end, with as many tries as a task gets."""
        for variant in (0, 1, 0, 1):
            self.store.clock += TTL + 1
            live = self.start(kind, argument, variant)
            conflicts = self.seen["conflicts"]
            self.finish(live)
            if self.seen["conflicts"] == conflicts:
                return
        raise Violation(f"{kind} {argument} never ends: the lake is stuck")

    def finish(self, live: Live) -> None:
        """Run a process to its end."""
        for _ in range(200):
            if not self.step(live, 99):
                return
        raise Violation(f"{live.kind} does not end")

    def compare(self) -> None:
        """The lake at rest equals one where nothing ever went wrong."""
        landing = {key: self.store.objects[f"landing/{key}"].body for key in KEYS}
        wanted = undisturbed(landing, self.setting, frozenset(self.asked))
        for table in ("pairs", "captions"):
            found = {key: {row for row, _ in self.rows(main)} for key, main in self.mains(table).items()}
            if found != wanted:
                raise Violation(f"{table} at rest: {found}, undisturbed: {wanted}")
        published = {row for _, row in self.store.objects["A/published"].body}
        if published != set().union(*wanted.values()):
            raise Violation(f"published at rest: {published}, undisturbed: {wanted}")


def explore(actions: Sequence[Action], bugs: frozenset[str] = frozenset()) -> World:
    """Do the actions, then come to rest; Violation if anything promised does not hold."""
    world = World(bugs=bugs)
    for action in actions:
        world.act(action)
    world.settle()
    return world
