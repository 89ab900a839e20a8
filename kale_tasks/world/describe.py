"""Writes the true captions of a scene, and parses captions into what they claim."""

import re
from dataclasses import dataclass, fields

from kale_tasks.world.scene import CELLS, COLOURS, GROUNDS, KINDS, PATTERNS, SIZES, Facts, Scene, Thing

NO_FACTS = Facts()


@dataclass(frozen=True)
class Claims:
    """What a caption claims: visible attributes by name, and facts."""

    attributes: dict[str, str]
    facts: Facts


def dense(scene: Scene) -> str:
    """Describe everything visible and nothing else."""
    return fused(scene, NO_FACTS)


def fused(scene: Scene, facts: Facts) -> str:
    """Describe everything visible, with the facts about the first thing."""
    first, *others = scene.things
    sentences = [_thing(first, facts.name), _knowledge(facts), *(_thing(other, "") for other in others)]
    if scene.digits:
        sentences.append(f"The digits {scene.digits} are printed at the {scene.digits_cell}.")
    sentences.append(f"The background is {scene.pattern} {scene.ground}.")
    return " ".join(filter(None, sentences))


def attributes(scene: Scene) -> dict[str, str]:
    """Return everything visible in a scene, one entry per attribute."""
    found = {"pattern": scene.pattern, "ground": scene.ground}
    for number, thing in enumerate(scene.things, 1):
        found |= {f"{field.name} {number}": getattr(thing, field.name) for field in fields(thing)}
    if scene.digits:
        found |= {"digits": scene.digits, "digits cell": scene.digits_cell}
    return found


def read(caption: str) -> Claims:
    """Parse a caption of this world, ignoring what cannot be parsed."""
    found: dict[str, str] = {}
    facts = NO_FACTS
    for number, thing in enumerate(_THING.finditer(caption), 1):
        claimed = thing.groupdict(default="")
        found |= {f"{part} {number}": claimed[part] for part in ("size", "colour", "kind", "cell")}
        if number == 1:
            facts = Facts(*(claimed[field.name] for field in fields(Facts)))
    if digits := _DIGITS.search(caption):
        found |= {"digits": digits[1], "digits cell": digits[2]}
    if background := _BACKGROUND.search(caption):
        found |= {"pattern": background[1], "ground": background[2]}
    return Claims(found, facts)


def _thing(thing: Thing, name: str) -> str:
    named = f" named {name}" if name else ""
    return f"A {thing.size} {thing.colour} {thing.kind}{named} is at the {thing.cell}."


def _knowledge(facts: Facts) -> str:
    made = (f" by {facts.maker}" if facts.maker else "") + (f" in {facts.year}" if facts.year else "")
    parts = [f"was made{made}" if made else "", f"{_PLACED} {facts.place}" if facts.place else ""]
    claim = " and ".join(filter(None, parts))
    return f"It {claim}." if claim else ""


def _either(words: tuple[str, ...]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_CELL = rf"(?P<cell>{_either(CELLS)})\."
_MADE = r"was made(?: by (?P<maker>.+?))?(?: in (?P<year>\d{4}))?"
_PLACED = "stands in"
_THING = re.compile(
    rf"A (?P<size>{_either(SIZES)}) (?P<colour>{_either(COLOURS)}) (?P<kind>{_either(KINDS)})"
    rf"(?: named (?P<name>.+?))? is at the {_CELL}"
    rf"(?: It (?:{_MADE})?(?: and )?(?:{_PLACED} (?P<place>.+?))?\.(?= (?:A|The) ))?"
)
_DIGITS = re.compile(rf"The digits (\d+) are printed at the ({_either(CELLS)})\.")
_BACKGROUND = re.compile(rf"The background is ({_either(PATTERNS)}) ({_either(GROUNDS)})\.")
