"""Things with names that recur: a kind and a colour always have the same name and place.

What the pictures of the sample world show has nothing to do with its names, which are drawn for each picture, so no
model could learn them. Here it can, from texts that say them.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from kale_tasks.world.alttext import AltText, write_alt
from kale_tasks.world.describe import NO_FACTS
from kale_tasks.world.names import invent
from kale_tasks.world.scene import COLOURS, KINDS, Facts, Scene, make_scene

_PLACES = 8
_NAMED = ("{n}", "{n} in {p}", "{n}, {p}", "Photo of {n}, {p}", "view of {n}, {p}", "the {v} {n} in {p}")
_NOISE = ("plain", "generic", "spam")
_SHARES = (62, 6, 32)  # alt-texts in 100 that name the entity, name another one, or say nothing of it


@dataclass(frozen=True)
class Entity:
    """A thing as it looks, and what is known of it: nothing, if nobody names it."""

    kind: str
    colour: str
    facts: Facts


@dataclass(frozen=True)
class Picture:
    """A scene whose first thing is an entity, with its alt-text."""

    entity: Entity
    scene: Scene
    alt: AltText


@dataclass(frozen=True)
class EntityWorld:
    """The entities that follow from a seed, and pictures of them.

    Things of some kinds come in eight colours each. Lessons and captions name `in_lessons` of them, captions alone name
    `in_captions` more, and nobody names the rest. A scene has at most `things` things, and may have digits.
    """

    seed: int = 0
    in_lessons: int = 36
    in_captions: int = 16
    kinds: int = 8
    things: int = 2
    digits: bool = True

    @cached_property
    def entities(self) -> list[Entity]:
        """All of them, in random order: the taught, the captioned, the nameless."""
        rng = Random(f"entities {self.seed}")
        looks = [(kind, colour) for kind in KINDS[: self.kinds] for colour in COLOURS]
        rng.shuffle(looks)
        names = _words(rng, self._named + _PLACES)
        places = names[-_PLACES:]
        found = []
        for number, (kind, colour) in enumerate(looks):
            known = Facts(names[number], rng.choice(places)) if number < self._named else NO_FACTS
            found.append(Entity(kind, colour, known))
        return found

    @property
    def taught(self) -> list[Entity]:
        """Entities that lessons ask about, and captions name."""
        return self.entities[: self.in_lessons]

    @property
    def captioned(self) -> list[Entity]:
        """Entities that captions name, and no lesson asks about."""
        return self.entities[self.in_lessons : self._named]

    @property
    def nameless(self) -> list[Entity]:
        """Entities that no text names: lessons decline to name one half, questions ask about the other."""
        return self.entities[self._named :]

    @property
    def _named(self) -> int:
        return self.in_lessons + self.in_captions

    def picture(self, purpose: str, number: int, entity: Entity) -> Picture:
        """Return a picture of an entity; equal numbers for the same purpose give equal pictures."""
        rng = Random(f"picture {self.seed} {purpose} {number}")
        scene = make_scene(rng)
        first = replace(scene.things[0], kind=entity.kind, colour=entity.colour)
        others = [thing for thing in self.nameless if thing.kind != entity.kind]
        beside = [
            replace(thing, kind=(o := rng.choice(others)).kind, colour=o.colour)
            for thing in scene.things[1 : self.things]
        ]
        scene = replace(scene, things=(first, *beside))
        if not self.digits:
            scene = replace(scene, digits="", digits_cell="")
        return Picture(entity, scene, self._alt(rng, entity, scene))

    def _alt(self, rng: Random, entity: Entity, scene: Scene) -> AltText:
        kind = rng.choices(("named", "wrong", "noise"), _SHARES)[0]
        if kind == "noise" or not entity.facts.name:
            return write_alt(rng, rng.choice(_NOISE), scene, NO_FACTS)
        about = rng.choice(self.entities[: self._named]) if kind == "wrong" else entity
        template = rng.choice(_NAMED)
        text = template.format(n=about.facts.name, p=about.facts.place, v=f"{about.colour} {about.kind}")
        stated = Facts(about.facts.name, about.facts.place if "{p}" in template else "")
        return AltText(text, kind, stated if kind == "named" else NO_FACTS)


def _words(rng: Random, count: int) -> list[str]:
    """Invent different names of one plain word."""
    found: dict[str, None] = {}
    while len(found) < count:
        name = invent(rng, alike=0)
        if name.isascii() and name.isalpha() and 3 <= len(name) <= 5:
            found[name] = None
    return list(found)
