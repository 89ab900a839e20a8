"""Draws what happens to a world: a history, then a race about one key, then what comes after it."""

from random import Random

from tests.contract.world import ROWS, Action

WHOLE = 99
HISTORY = ("pairs", "pairs", "captions", "captions", "release", "there and back", "deliver", "set")
RACERS = (
    *["pairs", "captions"] * 4, *["takedown", "maintain", "again", "there and back"] * 2, "release", "read", "preview",
    "rollback", "step back", "copy",
)  # fmt: skip
EVENTS = ("tick", "tick", "deliver", "set", "crash", "crash", "crash", "step", "step", "step", "step", "lose", "end")
AFTER = ("pairs", "captions", "captions", "release", "release", "maintain", "takedown", "accept", "end", "read", "step")
STOPS = (1, 2, 3, 5, 8, 12, 18, 25, 33, 42, 101, 102, 103, 104, 105, 106, 107, 108, 109, 201, 202, 203, 203, 204, 205, 301, 302, 303, 303)


def scenario(random: Random) -> list[Action]:
    """A list of actions; the race is about one key, so that processes meet."""
    key, row = random.randrange(3), random.randrange(len(ROWS))
    variants = random.choice(((0,), (0, 0, 0, 1), (0, 1, 2, 3)))

    def about(kind: str) -> int:
        if kind in ("step", "crash"):
            return random.randrange(4)
        near = row if kind == "takedown" else key
        return near if random.random() < 0.6 else random.randrange(6)

    def some(kinds: tuple[str, ...], most: int, stops: tuple[int, ...]) -> list[Action]:
        chosen = [random.choice(kinds) for _ in range(random.randint(0, most))]
        return [(kind, about(kind), random.choice(variants), random.choice(stops)) for kind in chosen]

    race: list[Action] = []
    for _ in range(random.randint(1, 4)):
        race += some(RACERS, 2, (*STOPS, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE))
        race += some(EVENTS, 2, STOPS)
    return some(HISTORY, 6, (WHOLE,)) + race + some(AFTER, 5, (WHOLE,))
