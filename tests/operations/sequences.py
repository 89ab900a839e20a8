"""Random sequences of operations, made from a seed. Operations of one group overlap in time."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tests.operations.forks import Moment
from tests.operations.hooks import COMMIT
from tests.operations.source import KEYS, NUMBERS

STEPS = ("ingest", "images")
CAPTION_STEPS = ("dense", "fuse")
# About as many as the command has.
_EVENTS = {
    "ingest": 26, "images": 26, "dense": 18, "fuse": 18, "release": 10, "takedown": 30, "maintain": 12, "repair": 24,
    "rollback": 10,
}  # fmt: skip
_MOST_SECONDS = 1.0
_RULE = ("ingest.rules.min_words", (3, 4, 5))
_CUTS = (
    ("ingest.part_rows", (4, 10)), ("ingest.piece_rows", (5, 100)), ("ingest.piece_rows", (2, 100)),
    ("parts.part_rows", (3, 8)), ("parts.chunk_rows", (8, 24)),
)  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One operation. `numbers`: of landed pairs, or of a pair that is taken down; `pick` chooses among files."""

    name: str
    key: str = ""
    step: str = ""
    again: bool = False
    moment: Moment | None = None
    numbers: tuple[int, ...] = ()
    setting: str = ""
    value: str = ""
    days: int = 0
    pick: int = 0

    def __str__(self) -> str:
        known = {name: value for name, value in asdict(self).items() if value and name != "name"}
        return " ".join([self.name, *(f"{name}={value}" for name, value in known.items())])


Group = tuple[Operation, ...]
Sequence_ = tuple[Group, ...]
# Names of operations that a sequence may have beside runs, with how often each is drawn.
ALL = {
    "set": 4, "land": 3, "takedown": 2, "maintain": 2, "copy": 1, "look": 3, "damage": 2, "repair": 1, "backup": 2,
    "restore": 2, "rollback": 2, "release": 2,
}  # fmt: skip
_ALWAYS = ("set", "land", "takedown", "maintain", "look")
# Each is drawn for a sequence with this chance: what damages a lake also hides what readers must see elsewhere.
_SOMETIMES = {("copy",): 0.3, ("damage", "repair"): 0.25, ("backup", "restore"): 0.25, ("rollback",): 0.3,
              ("release",): 0.15}  # fmt: skip
_ALONE = ("backup", "restore")  # of a quiet lake


def operations_of(seed: int) -> tuple[str, ...]:
    """Return the names of the operations that the sequence of a seed has. Those with releases also make captions."""
    rng = Random(f"operations {seed}")
    return (*_ALWAYS, *(name for names, chance in _SOMETIMES.items() if rng.random() < chance for name in names))


def sequence_of(seed: int, names: Sequence[str], length: int = 6) -> Sequence_:
    """Return the sequence of a seed: first all but one of the keys land, then some groups of operations."""
    rng = Random(seed)
    late = rng.choice(KEYS)
    landed = [(_land(rng, key),) for key in KEYS if key != late]
    draw = _Draw(rng, names, [land for (land,) in landed])
    runs = [(Operation("run", key, step),) for key in KEYS[1:] for step in draw.steps if key != late]
    groups: list[Group] = []
    while len(groups) < length:
        groups += draw.groups()
    groups.insert(rng.randrange(length), (_land(rng, late), Operation("run", late, "ingest")))
    if "release" in names:
        place = rng.randrange(length)
        groups[place:place] = _stricter(rng, rng.choice([key for key in KEYS[1:] if key != late]))
    # Last, because what comes later makes rows again and so hides what happened to them.
    return tuple([*landed, *runs, *groups, *draw.last_groups()])


def _stricter(rng: Random, key: str) -> list[Group]:
    """A rule becomes stricter, a key with captions loses pairs by it, and all is released before it is refreshed."""
    rule = Operation("set", setting=_RULE[0], value=str(rng.choice(_RULE[1][1:])))
    return [(rule,), (Operation("run", key, "ingest"),), (Operation("release"),)]


def overlapping(sequence: Sequence_) -> float:
    """Return the share of operations that overlap another one."""
    groups = [group for group in sequence if group[0].name != "land"]
    together = sum(len(group) for group in groups if len(group) > 1)
    return together / sum(map(len, groups))


class _Draw:
    """Draws groups of operations."""

    def __init__(self, rng: Random, names: Sequence[str], landed: Sequence[Operation]) -> None:
        self._rng = rng
        self._landed = {land.key: land.numbers for land in landed}
        self.steps = (*STEPS, *(CAPTION_STEPS if "release" in names else ()))
        self._names = [name for name in ALL if name in names]

    def groups(self) -> list[Group]:
        """Return the next group, with those that prepare it."""
        if self._rng.random() < 0.35:
            return self._new_run_twice()
        makers = (self._two_at_once, self._stall, self._inputs_change, self._alone)
        return [self._rng.choices(makers, (0.3, 0.25, 0.15, 0.3))[0]()]

    def last_groups(self) -> list[Group]:
        """Return groups in which a run stops or dies at a moment that matters to it, and the world goes on."""
        return self._rng.choice((self._late_shard, self._late_inputs, self._late_commit, self._cut_again))()

    def _late_shard(self) -> list[Group]:
        """An attempt stops before it stores its images, another one makes the run, and the first goes on."""
        run = Operation("run", self._rng.choice(KEYS), "images")
        new = [(self._land(run.key),), (Operation("run", run.key, "ingest"),)]
        return [*new, (_with(run, Moment("stop", event=self._rng.randint(1, 2), of="/shard-")), run)]

    def _late_inputs(self) -> list[Group]:
        """A run stops when its parts are made, its inputs change, and it goes on."""
        key, step = self._rng.choice(KEYS), self._rng.choice(STEPS)
        first = Operation("run", key, step, again=True, moment=Moment("stop", event=1, of="/run.json"))
        made = (Operation("run", key, "ingest"),) if step == "images" else ()
        return [(first, self._land(key), *made)]

    def _late_commit(self) -> list[Group]:
        """A run stops before one of its commits, maintenance goes by days later, and it goes on."""
        rng, key, step = self._rng, self._rng.choice(KEYS), self._rng.choice(STEPS)
        moment = Moment("stop", event=rng.randint(1, 2 if step == "ingest" else 1), of=COMMIT)
        maintain = Operation("maintain", days=rng.choice((1, 3, 6, 20)))
        return [(Operation("run", key, step, again=True, moment=moment), maintain)]

    def _cut_again(self) -> list[Group]:
        """Ingest stops or dies while it cleans, and is tried again with its files divided in another way."""
        rng, run = self._rng, Operation("run", self._rng.choice(KEYS), "ingest")
        whole, pieces = (Operation("set", setting="ingest.piece_rows", value=value) for value in ("100", "2"))
        first, second = rng.sample((whole, pieces), 2)
        moment = Moment(rng.choice(("stop", "kill")), event=rng.randint(3, 7), of="/scratch/")
        return [(first,), (self._land(run.key),), (_with(run, moment), second, run)]

    def _two_at_once(self) -> Group:
        """Two operations, often runs of the same rows; one of them often stops or dies on the way."""
        rng, first = self._rng, self._run()
        if rng.random() < 0.3:
            return (first, self._run(first.key) if rng.random() < 0.5 else self._run())
        second = self._run(first.key, first.step if rng.random() < 0.5 else "") if rng.random() < 0.6 else self._other()
        between = (self._other(),) if rng.random() < 0.3 else ()
        return (_with(first, _moment(rng, first.step)), *between, second)

    def _stall(self) -> Group:
        """A run stops, rows or files are taken away meanwhile, and it goes on."""
        rng = self._rng
        first, maintain = self._run(again=0.7), rng.random() < 0.4
        last = _EVENTS[first.step]
        moment = Moment("stop", event=rng.randint(last // 2 if maintain else 1, last))
        of_key = self._landed.get(first.key, ())  # to take down a row that this run makes
        return (_with(first, moment), _maintain(rng) if maintain else _takedown(rng, of_key))

    def _new_run_twice(self) -> list[Group]:
        """A run of new rows stops or dies and is tried again, often with its work divided in another way."""
        rng, key, step = self._rng, self._rng.choice(KEYS), self._rng.choice(STEPS)
        new: list[Group] = [(self._land(key),)]
        if step == "images":
            new.append((Operation("run", key, "ingest"),))
        kind, event = rng.choice(("stop", "kill")), rng.randint(1, _EVENTS[step] // rng.choice((1, 2)))
        cut = (_set(rng, _CUTS),) if step == "ingest" and rng.random() < 0.6 else ()
        run = Operation("run", key, step)
        return [*new, (_with(run, Moment(kind, event=event)), *cut, run)]

    def _inputs_change(self) -> Group:
        """A run stops, its inputs change meanwhile, and it goes on."""
        rng, key, step = self._rng, self._rng.choice(KEYS), self._rng.choice(STEPS)
        first = Operation("run", key, step, again=True, moment=Moment("stop", event=rng.randint(1, _EVENTS[step])))
        made = (Operation("run", key, "ingest"),) if step == "images" else ()
        return (first, self._land(key), *made)

    def _alone(self) -> Group:
        rng = self._rng
        if rng.random() < 0.75:
            return (self._other(alone=True),)
        first = self._run()
        return (_with(first, _moment(rng, first.step, 0.5)),)

    def _land(self, key: str) -> Operation:
        land = _land(self._rng, key)
        self._landed[key] = land.numbers
        return land

    def _run(self, key: str = "", step: str = "", again: float = 0.2) -> Operation:
        rng = self._rng
        step = step or rng.choices(self.steps, (3, 2, 1, 1)[: len(self.steps)])[0]
        return Operation("run", key or rng.choice(KEYS), step, again=rng.random() < again)

    def _other(self, alone: bool = False) -> Operation:
        known = [name for name in self._names if alone or name not in _ALONE]
        return _MAKERS[self._rng.choices(known, [ALL[name] for name in known])[0]](self._rng)


def _moment(rng: Random, step: str, chance: float = 1.0) -> Moment | None:
    if rng.random() >= chance:
        return None
    kind = rng.choice(("stop", "kill"))
    if rng.random() < 0.2:
        return Moment(kind, seconds=round(rng.uniform(0.05, _MOST_SECONDS), 2))
    return Moment(kind, event=rng.randint(1, _EVENTS[step]))


def _with(operation: Operation, moment: Moment | None) -> Operation:
    return Operation(**{**vars(operation), "moment": moment})


def _land(rng: Random, key: str = "") -> Operation:
    numbers = tuple(rng.sample(range(NUMBERS), rng.randint(8, 20)))
    twice = numbers[:2] if rng.random() < 0.5 else ()
    return Operation("land", key or rng.choice(KEYS), numbers=numbers + twice)


def _set(rng: Random, settings: Sequence[tuple[str, tuple[int, ...]]] = ()) -> Operation:
    setting, values = rng.choice(settings or (_RULE, _RULE, *_CUTS))
    return Operation("set", setting=setting, value=str(rng.choice(values)))


def _takedown(rng: Random, numbers: Sequence[int] = ()) -> Operation:
    # By uid only pairs without a copy at the same address: the copy may take the place of the removed row, or not yet.
    number = rng.choice(numbers or range(NUMBERS))
    kind = rng.choice(("uid", "url")) if 10 <= number < 50 else "url"
    return Operation("takedown", numbers=(number,), value=kind, moment=_moment(rng, "takedown", 0.3))


def _maintain(rng: Random) -> Operation:
    return Operation("maintain", days=rng.choice((0, 1, 3, 6, 20)), moment=_moment(rng, "maintain", 0.2))


def _damage(rng: Random) -> Operation:
    return Operation("damage", value=rng.choice(("delete", "corrupt")), pick=rng.randrange(10_000))


def _rollback(rng: Random) -> Operation:
    moment = _moment(rng, "rollback", 0.2)
    return Operation("rollback", rng.choice(KEYS), rng.choice(STEPS), pick=rng.randrange(100), moment=moment)


_MAKERS: dict[str, Callable[[Random], Operation]] = {
    "set": _set,
    "land": _land,
    "takedown": _takedown,
    "maintain": _maintain,
    "damage": _damage,
    "rollback": _rollback,
    "copy": lambda rng: Operation("copy", rng.choice(KEYS)),
    "look": lambda rng: Operation("look", rng.choice(KEYS), rng.choice(STEPS)),
    "repair": lambda rng: Operation("repair", moment=_moment(rng, "repair", 0.3)),
    "release": lambda rng: Operation("release", moment=_moment(rng, "release", 0.3)),
    "backup": lambda _: Operation("backup"),
    "restore": lambda rng: Operation("restore", value=rng.choice(("catalog", "store"))),
}


def as_lines(sequence: Sequence_) -> list[str]:
    """Return a sequence as text, a line for each group."""
    return [" | ".join(map(str, group)) for group in sequence]


def shrunk(sequence: Sequence_, fails: Callable[[Sequence_], Any]) -> Sequence_:
    """Drop groups, then single operations, for as long as the sequence still fails."""
    for smaller in (_without_group, _without_operation):
        place = 0
        while (candidate := smaller(sequence, place)) is not None:
            if candidate and fails(candidate):
                sequence = candidate
            else:
                place += 1
    return sequence


def _without_group(sequence: Sequence_, place: int) -> Sequence_ | None:
    return sequence[:place] + sequence[place + 1 :] if place < len(sequence) else None


def _without_operation(sequence: Sequence_, place: int) -> Sequence_ | None:
    places = [(i, j) for i, group in enumerate(sequence) if len(group) > 1 for j in range(len(group))]
    if place >= len(places):
        return None
    i, j = places[place]
    group = sequence[i][:j] + sequence[i][j + 1 :]
    return (*sequence[:i], group, *sequence[i + 1 :])
