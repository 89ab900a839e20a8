"""Random sequences of operations, made from a seed. Operations of one group overlap in time."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tests.operations.forks import Moment
from tests.operations.source import KEYS, NUMBERS

STEPS = ("ingest", "images")
_EVENTS = {"ingest": 24, "images": 24, "takedown": 30, "maintain": 12}  # about as many as the command has
_MOST_SECONDS = 1.0


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
    "set": 4, "land": 3, "takedown": 2, "maintain": 2, "copy": 1, "damage": 1, "restore": 1, "backup": 1, "rollback": 1
}  # fmt: skip


def sequence_of(seed: int, names: Sequence[str], length: int = 8) -> Sequence_:
    """Return the sequence of a seed: first all but one of the keys land, then `length` groups of operations."""
    rng = Random(seed)
    late = rng.choice(KEYS)
    landed = [(_land(rng, key),) for key in KEYS if key != late]
    runs = [(Operation("run", key, step),) for key in KEYS[1:] for step in STEPS if key != late]
    groups = [_group(rng, names) for _ in range(length)]
    groups.insert(rng.randrange(length), (_land(rng, late), Operation("run", late, "ingest")))
    return tuple([*landed, *runs, *groups])


def overlapping(sequence: Sequence_) -> float:
    """Return the share of operations that overlap another one."""
    groups = [group for group in sequence if group[0].name != "land"]
    together = sum(len(group) for group in groups if len(group) > 1)
    return together / sum(map(len, groups))


def _group(rng: Random, names: Sequence[str]) -> Group:
    first = _run(rng)
    if rng.random() < 0.4:  # one stops or dies while another works, often on the same rows
        moment = _moment(rng, first.step)
        second = _run(rng, first.key) if rng.random() < 0.6 else _other(rng, names)
        between = (_other(rng, names),) if rng.random() < 0.4 else ()
        return (_with(first, moment), *between, second)
    if rng.random() < 0.35:
        return (first, _run(rng, first.key) if rng.random() < 0.5 else _run(rng))
    return (_other(rng, names),) if rng.random() < 0.6 else (_with(first, _moment(rng, first.step, 0.5)),)


def _moment(rng: Random, step: str, chance: float = 1.0) -> Moment | None:
    if rng.random() >= chance:
        return None
    kind = rng.choice(("stop", "kill"))
    if rng.random() < 0.2:
        return Moment(kind, seconds=round(rng.uniform(0.05, _MOST_SECONDS), 2))
    return Moment(kind, event=rng.randint(1, _EVENTS[step]))


def _with(operation: Operation, moment: Moment | None) -> Operation:
    return Operation(**{**vars(operation), "moment": moment})


def _run(rng: Random, key: str = "") -> Operation:
    step = rng.choices(STEPS, (3, 2))[0]
    return Operation("run", key or rng.choice(KEYS), step, again=rng.random() < 0.2)


def _land(rng: Random, key: str = "") -> Operation:
    numbers = tuple(rng.sample(range(NUMBERS), rng.randint(8, 20)))
    twice = numbers[:2] if rng.random() < 0.5 else ()
    return Operation("land", key or rng.choice(KEYS), numbers=numbers + twice)


def _other(rng: Random, names: Sequence[str]) -> Operation:
    known = [name for name in ALL if name in names]
    return _MAKERS[rng.choices(known, [ALL[name] for name in known])[0]](rng)


def _set(rng: Random) -> Operation:
    setting, values = rng.choice(
        [
            ("ingest.rules.min_words", (3, 4, 5)),
            ("ingest.rules.min_words", (3, 4, 5)),
            ("ingest.part_rows", (4, 10)),
            ("ingest.piece_rows", (5, 100)),
            ("parts.part_rows", (3, 8)),
            ("parts.chunk_rows", (8, 24)),
        ]
    )
    return Operation("set", setting=setting, value=str(rng.choice(values)))


def _takedown(rng: Random) -> Operation:
    kind = rng.choice(("uid", "url"))
    moment = _moment(rng, "takedown", 0.3)
    return Operation("takedown", numbers=(rng.randrange(NUMBERS),), value=kind, moment=moment)


def _maintain(rng: Random) -> Operation:
    return Operation("maintain", days=rng.choice((0, 1, 3, 6)), moment=_moment(rng, "maintain", 0.2))


def _damage(rng: Random) -> Operation:
    return Operation("damage", value=rng.choice(("delete", "corrupt")), pick=rng.randrange(1000))


_MAKERS: dict[str, Callable[[Random], Operation]] = {
    "set": _set,
    "land": _land,
    "takedown": _takedown,
    "maintain": _maintain,
    "damage": _damage,
    "copy": lambda rng: Operation("copy", rng.choice(KEYS)),
    "backup": lambda _: Operation("backup"),
    "restore": lambda rng: Operation("restore", value=rng.choice(("catalog", "store"))),
    "rollback": lambda rng: Operation("rollback", rng.choice(KEYS), rng.choice(STEPS)),
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
