"""Captions of known quality about the sample world, with the truth of their images."""

from collections.abc import Callable
from dataclasses import asdict
from random import Random
from typing import Any, NamedTuple

from kale_tasks.evaluate.measures import Item
from kale_tasks.world.alttext import make_kind, write_alt
from kale_tasks.world.describe import attributes, dense, fused
from kale_tasks.world.scene import COLOURS, Facts, Scene, make_facts, make_scene


class Known(NamedTuple):
    """Items with their truth, and texts of each group."""

    items: list[Item]
    texts: dict[str, list[str]]


def known(seed: int, count: int) -> Known:
    """Make items, and as groups: fused, dense (its facts stripped), truncated, shuffled, invented."""
    rng = Random(f"known {seed}")
    items, groups = list[Item](), dict[str, list[str]]()
    for number in range(count):
        scene, facts = make_scene(rng), make_facts(rng)
        alt = write_alt(rng, make_kind(rng), scene, facts)
        stated = {name: value for name, value in asdict(alt.facts).items() if value}
        truth = {**asdict(facts), "attributes": list(attributes(scene).items()), "alt_facts": list(stated),
                 "dense": dense(scene), "alt": alt.text}  # fmt: skip
        items.append(Item(str(number), about=truth))
        full = fused(scene, alt.facts)
        words = full.split()
        made = {"fused": full, "dense": dense(scene), "truncated": " ".join(words[: len(words) // 2]),
                "invented": fused(scene, make_facts(rng))}  # fmt: skip
        for name, text in made.items():
            groups.setdefault(name, []).append(text)
    groups["shuffled"] = [*groups["fused"][1:], groups["fused"][0]]
    return Known(items, groups)


def independent(seed: int, count: int, error: float = 0.2) -> tuple[list[list[str]], list[list[bool]]]:
    """Three captioners who see each scene by themselves and err by themselves.

    Return their captions, and for the first of them which sentences are planted inventions.
    """
    rng = Random(f"independent {seed}")
    captions: list[list[str]] = [[], [], []]
    planted = []
    for _ in range(count):
        scene = make_scene(rng)
        for captioner in captions:
            captioner.append(dense(_misread(rng, scene, error)))
        sentences = [f"{part.strip()}." for part in captions[0][-1].rstrip(".").split(".")]
        flags = [part not in dense(scene) for part in sentences]
        if rng.random() < 0.5:
            invention = rng.choice(_INVENTIONS)(make_facts(rng))
            sentences.append(invention)
            flags.append(True)
        captions[0][-1] = " ".join(sentences)
        planted.append(flags)
    return captions, planted


_INVENTIONS: list[Callable[[Facts], str]] = [
    lambda facts: f"It was made by {facts.maker}.",
    lambda facts: f"A sign says {facts.name}.",
    lambda facts: "A small dog sleeps in front of it.",
    lambda facts: f"It opened in {facts.year}.",
]


def _misread(rng: Random, scene: Scene, error: float) -> Scene:
    from dataclasses import replace

    things: list[Any] = [
        replace(thing, colour=rng.choice(COLOURS)) if rng.random() < error else thing for thing in scene.things
    ]
    return replace(scene, things=tuple(things))
