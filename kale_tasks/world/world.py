"""The sample world. Each pair is a pure function of seed, key and index, so a world of any size can be streamed."""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from random import Random

from kale_tasks.world.alttext import AltText, make_kind, write_alt
from kale_tasks.world.draw import QUALITY, draw, jpeg, placeholder
from kale_tasks.world.faults import FAULTS, Fault, make_fault
from kale_tasks.world.scene import Facts, Scene, make_facts, make_scene

FIRST_KEY = date(2026, 11, 1)
EVALUATION = "evaluation"  # the key of the evaluation set, which has no landing files
EVALUATION_ITEMS = 200
_ROOTS = 10  # the first pairs of a key are originals with all facts, so that there is something to duplicate
_NEAR_QUALITY = 70
_CHANGED_QUALITY = 80
# Pairs of each role in 1,000: with an image and text of their own, or planted.
_ROLES = {
    "original": 908, "again": 5, "exact": 25, "near": 25, "across": 12, "across near": 8, "placeholder": 10,
    "evaluation": 4, "evaluation near": 3,
}  # fmt: skip
_EXPECTED = {
    "original": "kept",
    "near": "kept",  # a picture with a digest of its own
    "across near": "kept",
    "placeholder": "placeholder",
    "evaluation": "evaluation",
    "evaluation near": "evaluation",
}


@dataclass(frozen=True)
class Pair:
    """One image-text pair and the truth about it."""

    key: str
    index: int  # of the image: a pair planted as `again` has the index of the pair it repeats
    role: str
    cluster: str  # pairs of a cluster have the same image and text, or nearly the same
    scene: Scene
    facts: Facts
    alt: AltText
    quality: int
    fault: Fault
    clip: float

    @property
    def expected(self) -> str:
        """What ingest must do with the pair: keep it, or the reason for which it must be dropped."""
        return "not English" if self.alt.kind == "strange" else _EXPECTED.get(self.role, "duplicate")


@dataclass(frozen=True)
class World:
    """The pairs that follow from a seed."""

    seed: int = 0

    def pair(self, key: str, index: int) -> Pair:
        """Return the pair with an index in a key."""
        rng = self._rng("pair", key, index)
        role = _role(rng, key, index)
        if role in ("original", "placeholder"):
            return self._original(key, index, role)
        source = self.pair(*self._source(rng, role, key, index))
        if role == "again":
            return replace(source, role=role)
        planted = replace(source, key=key, index=index, role=role, fault=make_fault(rng))
        if role.endswith("near"):
            alt = replace(source.alt, text=_nearly(rng, source.alt.text))
            return replace(planted, alt=alt, quality=_NEAR_QUALITY)
        return planted

    def image(self, pair: Pair, changed: bool = False) -> bytes:
        """Return the bytes of its image: as they were when the metadata was written, or as `changed` since then."""
        if changed:
            return jpeg(draw(pair.scene), _CHANGED_QUALITY)
        return _placeholder() if pair.role == "placeholder" else jpeg(draw(pair.scene), pair.quality)

    def _original(self, key: str, index: int, role: str) -> Pair:
        rng = self._rng("scene", key, index)
        scene, facts = make_scene(rng), make_facts(rng)
        alt = write_alt(rng, "full" if _is_root(key, index) else make_kind(rng), scene, facts)
        fault = FAULTS["ok"] if key == EVALUATION else make_fault(rng)
        clip = rng.gauss(0.30 if any(vars(alt.facts).values()) else 0.19, 0.03)
        return Pair(key, index, role, f"{key}/{index}", scene, facts, alt, QUALITY, fault, round(clip, 4))

    def _source(self, rng: Random, role: str, key: str, index: int) -> tuple[str, int]:
        """Return key and index of what a planted pair repeats: an earlier original, or an evaluation item."""
        if role.startswith("evaluation"):
            return EVALUATION, rng.randrange(EVALUATION_ITEMS)
        if role.startswith("across"):
            key, index = key_name(rng.randrange(_key_number(key))), max(index, _ROOTS)
        while True:
            chosen = rng.randrange(index)
            role = _role(self._rng("pair", key, chosen), key, chosen)
            if role == "original" and self._original(key, chosen, role).alt.kind == "full":
                return key, chosen

    def _rng(self, *path: object) -> Random:
        return Random("/".join(map(str, (self.seed, *path))))


def key_name(number: int) -> str:
    """Return the key with a number: a date."""
    return (FIRST_KEY + timedelta(days=number)).isoformat()


def uid(url: str, text: str) -> str:
    """Return the uid of a pair: 32 hex digits that depend on its URL and text."""
    return hashlib.sha256(f"{url}\0{text}".encode()).hexdigest()[:32]


def _key_number(key: str) -> int:
    return (date.fromisoformat(key) - FIRST_KEY).days


def _is_root(key: str, index: int) -> bool:
    return key == EVALUATION or index < _ROOTS


def _role(rng: Random, key: str, index: int) -> str:
    role = rng.choices(list(_ROLES), list(_ROLES.values()))[0]
    impossible = _is_root(key, index) or (role.startswith("across") and _key_number(key) == 0)
    return "original" if impossible else role


def _nearly(rng: Random, text: str) -> str:
    """Return a text with a slight change."""
    return rng.choice((f"{text}.", f"{text} !", text.replace(" ", "  ", 1), text[0].swapcase() + text[1:]))


@cache
def _placeholder() -> bytes:
    return placeholder()
