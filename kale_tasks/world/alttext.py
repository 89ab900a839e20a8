"""Generates alt-texts of the kinds found on the web: with all or some facts, wrong, noise, hostile."""

import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from re import sub
from typing import Any

import yaml

from kale_tasks.world.describe import NO_FACTS
from kale_tasks.world.scene import COLOURS, KINDS, Facts, Scene, Thing, make_facts

# Alt-texts of each kind in 100.
SHARES = {
    "full": 32, "partial": 20, "plain": 3, "generic": 10, "spam": 5, "foreign": 3, "strange": 3, "entities": 4,
    "emoji": 4, "wrong": 6, "pii": 3, "injection": 3, "mojibake": 2, "long": 2,
}  # fmt: skip
LONG = 5000


@dataclass(frozen=True)
class AltText:
    """An alt-text, its kind, and the true facts about its image that it contains."""

    text: str
    kind: str
    facts: Facts


def make_kind(rng: Random) -> str:
    """Draw a kind of alt-text by the shares of SHARES."""
    return rng.choices(list(SHARES), list(SHARES.values()))[0]


def write_alt(rng: Random, kind: str, scene: Scene, facts: Facts) -> AltText:
    """Write an alt-text of a kind for a scene and the facts about it."""
    if kind in ("generic", "spam", "strange"):
        return AltText(_phrase(rng, kind), kind, NO_FACTS)
    if kind == "mojibake":
        return AltText(_phrase(rng, "strange").encode().decode("latin-1"), kind, NO_FACTS)
    if kind == "wrong":
        return AltText(_fill(rng, kind, _other_thing(rng, scene), make_facts(rng))[0], kind, NO_FACTS)
    if kind in ("full", "partial", "plain", "foreign"):
        text, used = _fill(rng, kind, scene.things[0], facts)
        return AltText(text, kind, used)
    if kind == "injection" and rng.random() < 0.5:
        return AltText(_phrase(rng, kind), kind, NO_FACTS)
    text, used = _fill(rng, rng.choice(("full", "partial")), scene.things[0], facts)
    return AltText(_DECORATE[kind](rng, text), kind, used)


@cache
def phrases() -> dict[str, Any]:
    """Return the phrases from which alt-texts are composed, by kind."""
    loaded: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return loaded


def _phrase(rng: Random, kind: str) -> str:
    """Draw a phrase of a kind and replace its number signs by digits."""
    template: str = rng.choice(phrases()[kind])
    numbered = sub(r"\{(#+)\}", lambda match: "".join(rng.choices("0123456789", k=len(match[1]))), template)
    return numbered.replace("{person}", "".join(rng.choices("abcdefghijklmnoprstuw", k=rng.randint(4, 9))))


def _fill(rng: Random, kind: str, thing: Thing, facts: Facts) -> tuple[str, Facts]:
    """Draw a phrase and fill in facts. Return it with the facts that it contains."""
    template: str = rng.choice(phrases()[kind])
    slots = {"n": "name", "p": "place", "y": "year", "m": "maker"}
    used = {field: getattr(facts, field) for slot, field in slots.items() if f"{{{slot}}}" in template}
    filled = template.format(
        n=facts.name, p=facts.place, y=facts.year, m=facts.maker, k=thing.kind, v=f"{thing.colour} {thing.kind}"
    )
    return filled, Facts(**used)


def _other_thing(rng: Random, scene: Scene) -> Thing:
    """Return a thing whose combination of colour and kind is not in the scene."""
    shown = {(thing.colour, thing.kind) for thing in scene.things}
    near = rng.choice(scene.things)
    while True:
        colour, kind = rng.choice(COLOURS), rng.choice(KINDS)
        if rng.random() < 0.3:  # only the colour is wrong, which is harder to notice
            kind = near.kind
        if (colour, kind) not in shown:
            return replace(near, colour=colour, kind=kind)


def _emoji(rng: Random, text: str) -> str:
    marks = rng.choices(phrases()["emoji"], k=2)
    return rng.choice((f"{marks[0]} {text}", f"{text} {marks[0]}{marks[1]}", f"{marks[0]}{text}{marks[1]}"))


def _entities(rng: Random, text: str) -> str:
    for plain, written in phrases()["entities"].items():
        text = text.replace(plain, rng.choice(written)) if rng.random() < 0.7 else text
    quoted = rng.choice((f"&quot;{text}&quot;", f"&lt;b&gt;{text}&lt;/b&gt;", f"{text} &copy;", f"&#39;{text}&#39;"))
    return quoted if rng.random() < 0.5 else html.unescape(quoted)


def _pii(rng: Random, text: str) -> str:
    return f"{text} - {_phrase(rng, 'pii')}"


def _injection(rng: Random, text: str) -> str:
    return f"{text}. {_phrase(rng, 'injection')}"


def _long(rng: Random, text: str) -> str:
    return (text + ". " + " ".join(rng.choices(phrases()["filler"].split(), k=LONG // 4)))[:LONG]


_DECORATE: dict[str, Callable[[Random, str], str]] = {
    "emoji": _emoji,
    "entities": _entities,
    "pii": _pii,
    "injection": _injection,
    "long": _long,
}
