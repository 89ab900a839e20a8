"""What a picture shows (scene) and what no pixel of it tells (facts)."""

from dataclasses import dataclass
from random import Random

from kale_tasks.world.names import ALIKE, invent

KINDS = ("tower", "house", "boat", "car", "tree", "cup", "clock", "bridge")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "pink", "brown")
SIZES = ("small", "large")
CELLS = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
PATTERNS = ("plain", "striped", "dotted", "checked")
GROUNDS = ("white", "grey", "cream", "mint")


@dataclass(frozen=True)
class Thing:
    """One object of a scene; `cell` is its place in the 3 by 3 grid."""

    kind: str
    colour: str
    size: str
    cell: str


@dataclass(frozen=True)
class Scene:
    """One or two things on a background, now and then with two printed digits; `wobble` seeds what no caption tells."""

    things: tuple[Thing, ...]
    pattern: str
    ground: str
    digits: str
    digits_cell: str
    wobble: int


@dataclass(frozen=True)
class Facts:
    """Knowledge about the first thing of a scene; an empty string means unknown."""

    name: str = ""
    place: str = ""
    year: str = ""
    maker: str = ""


def make_scene(rng: Random) -> Scene:
    """Draws a scene by lot."""
    *cells, digits_cell = rng.sample(CELLS, rng.randint(2, 3))
    cells.sort(key=CELLS.index)  # reading order: a description can only follow what the picture shows
    things = tuple(Thing(rng.choice(KINDS), rng.choice(COLOURS), rng.choice(SIZES), cell) for cell in cells)
    printed = rng.random() < 0.5
    return Scene(
        things=things,
        pattern=rng.choice(PATTERNS),
        ground=rng.choice(GROUNDS),
        digits=f"{rng.randrange(100):02}" if printed else "",
        digits_cell=digits_cell if printed else "",
        wobble=rng.getrandbits(32),
    )


def make_facts(rng: Random, alike: float = ALIKE) -> Facts:
    """Draws name, place, year and maker by lot; a share of the names resemble each other."""
    name = invent(rng, alike=alike)
    place = invent(rng, name, alike)
    return Facts(name, place, year=str(rng.randint(1000, 2029)), maker=invent(rng, name, alike))
