"""Scenes, which an image shows, and facts, which it does not show."""

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
    """One object of a scene. `cell` is its position in the 3 by 3 grid."""

    kind: str
    colour: str
    size: str
    cell: str


@dataclass(frozen=True)
class Scene:
    """One or two things on a background, half of the time with two printed digits.

    `wobble` seeds the small variations that no caption mentions.
    """

    things: tuple[Thing, ...]
    pattern: str
    ground: str
    digits: str
    digits_cell: str
    wobble: int


@dataclass(frozen=True)
class Facts:
    """Facts about the first thing of a scene. An empty string means unknown."""

    name: str = ""
    place: str = ""
    year: str = ""
    maker: str = ""


def make_scene(rng: Random) -> Scene:
    """Draw a random scene."""
    *cells, digits_cell = rng.sample(CELLS, rng.randint(2, 3))
    cells.sort(key=CELLS.index)  # in reading order, as only the image determines the order of a description
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
    """Draw random name, place, year and maker. A share `alike` of the names resemble each other."""
    name = invent(rng, alike=alike)
    place = invent(rng, name, alike)
    return Facts(name, place, year=str(rng.randint(1000, 2029)), maker=invent(rng, name, alike))
