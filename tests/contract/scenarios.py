"""Draws what happens to a world: a history, then a race about one key, then what comes after it."""

from random import Random

from tests.contract.world import Action

WHOLE = 99
FULL: list[Action] = [(kind, key, 0, WHOLE) for key in (1, 2, 0) for kind in ("pairs", "captions")]
HISTORY = ("pairs", "pairs", "captions", "captions", "release", "there and back", "deliver", "set")
RACERS = (
    *["pairs", "captions"] * 4,
    *["takedown", "again"] * 3,
    *["maintain"] * 2,
    *["there and back"] * 3,
    *["release", "read", "preview", "rollback", "step back", "copy"],
)
EVENTS = ("tick", "tick", "deliver", "set", "crash", "crash", "crash", "step", "step", "step", "step", "lose", "end")
AFTER = (
    *["captions", "release"] * 3,
    *["pairs", "maintain", "takedown", "accept", "end", "read", "step"],
)
STOPS = (
    *[1, 2, 3, 5, 8, 12, 18, 25, 33, 42],  # operations
    *range(101, 110),  # writes
    *[201, 202, 203, 203, 204, 205, 301, 302, 303, 303, 303],  # swaps
)


def scenario(random: Random) -> list[Action]:
    """A list of actions; the race is about one key, so that processes meet."""
    key = random.choice((0, 0, 1, 2))
    row = random.choice(((0, 4), (1, 2), (3, 3))[key])  # one that the key has
    variants = random.choice(((0, 0, 0, 3), (0, 2), (0, 1, 2, 3)))

    def about(kind: str) -> int:
        if kind in ("step", "crash"):
            return random.randrange(4)
        near = row if kind == "takedown" else key
        return near if random.random() < 0.75 else random.randrange(6)

    def some(kinds: tuple[str, ...], most: int, stops: tuple[int, ...]) -> list[Action]:
        chosen = [random.choice(kinds) for _ in range(random.randint(0, most))]
        return [(kind, about(kind), random.choice(variants), random.choice(stops)) for kind in chosen]

    race: list[Action] = []
    for _ in range(random.randint(1, 4)):
        race += [("lose", 0, 0, 0)] * (random.random() < 0.1)
        race += some(RACERS, 2, (*STOPS, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE))
        race += some(EVENTS, 2, STOPS)
        if random.random() < 0.15:  # a stall, and maintenance meets it
            race += [("tick", 2, 0, 0), ("maintain", 0, 0, random.choice((*STOPS, WHOLE, WHOLE, WHOLE)))]
        elif random.random() < 0.15:  # settings there and back while a try stalls
            race += [("pairs", key, 3, random.choice(STOPS)), ("there and back", key, 0, 0)]
        elif race and race[-1][0] in ("pairs", "captions") and random.random() < 0.6:
            kind, argument, variant, _ = race[-1]  # the next try of a task that seemed dead
            race.append((kind, argument, random.choice((variant, variant ^ 2)), random.choice((*STOPS, WHOLE, WHOLE))))
    history = FULL[: 2 * random.randrange(4)] + some(HISTORY, 2, (WHOLE,))
    return history + race + some(AFTER, 5, (WHOLE,))
