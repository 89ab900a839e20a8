"""A captioner and a language model that are scripts: they know the scenes of the sample world by their images."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pyarrow as pa
from aiohttp import web

from kale_tasks.experts.base import VALUES, Expert, ExpertRow, Scorer
from kale_tasks.imaging import decode_rgb
from kale_tasks.world import describe
from kale_tasks.world.scene import Facts, Scene, make_facts, make_scene
from tests.captions.world import Pair, pairs, with_alt
from tests.engines.server import completion, prompt_of

SEEDS = ("first", "second", "third")
_DESCRIPTION = re.compile(r"(?:Description|Source, a description of the image|Description of this image): ?(.*)")
_ALT = re.compile(r"<alt>(.*?)</alt>", re.DOTALL)
_TALKS = re.compile(r"Caption: ?(.*)")
INVENTED = " It was built by Zorkan Quell in 1733."
CLAIMED = " It is a popular brand with a long warranty."


@dataclass(frozen=True)
class Call:
    """A request as a script sees it."""

    pair: Pair | None  # whose image is shown
    prompt: str
    seed: int
    turn: int

    @property
    def candidate(self) -> int:
        """The number of the candidate that is asked for."""
        return (self.seed - zlib.crc32((self.pair.uid if self.pair else "").encode())) % 2**31 // 1_000_003

    @property
    def scene(self) -> Scene:
        """What the image shows."""
        assert self.pair
        return self.pair.scene

    @property
    def description(self) -> str:
        """The description in the prompt."""
        return _found(_DESCRIPTION, self.prompt)

    @property
    def alt(self) -> str:
        """The alt-text in the prompt."""
        return _found(_ALT, self.prompt)

    @property
    def caption(self) -> str:
        """The caption in the prompt."""
        return _found(_TALKS, self.prompt)

    def chance(self, share: float) -> bool:
        """Whether it is one of a share of all requests."""
        return Random(f"{self.prompt} {self.pair and self.pair.uid}").random() < share


Script = Callable[[Call], str]


class World:
    """Some pairs for each seed, with an alt-text that knows name, place and year, and who answers about them."""

    def __init__(self, count: int = 8) -> None:
        self.by_seed = {seed: [_known(pair) for pair in stage1(seed, count)] for seed in SEEDS}
        self.pairs = sorted((pair for found in self.by_seed.values() for pair in found), key=lambda pair: pair.uid)
        self.facts = {pair.uid: facts_of(pair) for pair in self.pairs}
        self._by_image = {hashlib.sha256(pair.image).hexdigest(): pair for pair in self.pairs}
        self._by_pixels = {_pixels(decode_rgb(pair.image)): pair for pair in self.pairs}
        self.script: Script = describes

    def reply(self, body: dict[str, Any]) -> web.Response:
        """Answer a request by the script of the moment."""
        turn = sum(message["role"] == "user" for message in body["messages"])
        return completion(self.script(Call(self._shown(body), prompt_of(body), body["seed"], turn)))

    def scorer(world) -> type[Scorer]:
        """A scorer that compares the claims of a text with the truth of an image."""

        class Truth(Scorer):
            def scores(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
                return [
                    truth(text, world._by_pixels[_pixels(image)].scene) - _strangers(text, world, image)
                    for image, text in pairs
                ]

        return Truth

    def expert(world, value: Callable[[Pair], Sequence[str]]) -> type[Expert]:
        """An expert that finds values by the truth."""
        known = {pair.uid: pair for pair in world.pairs}

        class Known(Expert):
            reads_images = False

            def __init__(self, **options: Any) -> None:
                pass

            def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
                made = [{"uid": row.uid, "text": text, "score": 0.9} for row in rows for text in value(known[row.uid])]
                return pa.Table.from_pylist(made, schema=VALUES)

        return Known

    def _shown(self, body: dict[str, Any]) -> Pair | None:
        for message in body["messages"]:
            for part in message["content"] if isinstance(message["content"], list) else ():
                if part["type"] == "image_url":
                    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                    return self._by_image[hashlib.sha256(data).hexdigest()]
        return None


def describes(call: Call) -> str:
    """Describe an image; join a description and an alt-text."""
    return describe.dense(call.scene) if call.pair else joins(call)


def joins(call: Call) -> str:
    """Join a description and an alt-text."""
    return f"{call.description} It is {call.alt}." if call.alt else call.description


def truth(text: str, scene: Scene) -> float:
    """The share of what is visible that a text says."""
    visible, claimed = describe.attributes(scene), describe.read(text).attributes
    return sum(claimed.get(name) == value for name, value in visible.items()) / len(visible)


def other_scene(call: Call) -> Scene:
    """A scene that the image does not show."""
    return make_scene(Random(f"other {call.pair and call.pair.uid} {call.seed}"))


def facts_of(pair: Pair) -> Facts:
    """The facts about a pair that its alt-text states."""
    return make_facts(Random(f"facts {pair.uid}"))


def stage1(seed: str, count: int) -> list[Pair]:
    """That many pairs of stage 1."""
    return [pair for pair in pairs(3 * count, seed) if pair.split == "stage1"][:count]


def as_json(**values: Any) -> str:
    """An answer as JSON."""
    return json.dumps(values)


def _known(pair: Pair) -> Pair:
    facts = facts_of(pair)
    return with_alt(pair, f"{facts.name} in {facts.place}, made in {facts.year}")


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1].strip() if match else ""


def _pixels(image: Any) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _strangers(text: str, world: World, image: Any) -> float:
    """Whether a text names what another pair is called, which fits this image worse than nothing."""
    own = world._by_pixels[_pixels(image)].uid
    return float(any(facts.name in text for uid, facts in world.facts.items() if uid != own))


def swapped(world: World) -> World:
    """Give every second pair the alt-text of another one."""
    ring = [*world.pairs[1:], world.pairs[0]]
    moved = {
        pair.uid: with_alt(pair, other.alt.text) if at % 2 else pair
        for at, (pair, other) in enumerate(zip(world.pairs, ring, strict=True))
    }
    world.pairs = [moved[pair.uid] for pair in world.pairs]
    world.by_seed = {seed: [moved[pair.uid] for pair in found] for seed, found in world.by_seed.items()}
    return world
