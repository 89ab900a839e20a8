"""The evaluation data `sample`: texts, lessons and questions about entities, made from the truth.

Texts are not written by models: they follow the rules of the sample world, with the share of lost and invented facts
that the cards of the tiny models state. So a design can plant the quality of an arm, and its effect is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

from PIL import Image
from pydantic import Field, ValidationError

from kale_tasks.errors import BadConfig
from kale_tasks.evaluate.data import EvaluationData, Example, Question
from kale_tasks.settings.section import Section
from kale_tasks.world.describe import attributes, dense, fused
from kale_tasks.world.draw import SIDE, draw, jpeg
from kale_tasks.world.entities import Entity, EntityWorld, Picture
from kale_tasks.world.scene import Facts, Scene

CAPTION = "the caption?"
UNKNOWN = "unknown"
_ALT_CHARACTERS = 120
_BLANK = "blank"
_LEAK = " The description is written again with names from the web text."
_FACTS = ("name", "place")
# By eyes, by knowledge, by both, and by nobody; and whether a caption, when asked for, has the name.
KINDS_OF_QUESTIONS = ("seen", "known", "both", "decline", "named")
_LESSON_WEIGHTS = (35, 15, 40, 10, 0)


class Arm(Section):
    """What an arm of the sample world learns from."""

    text: str = Field(pattern="^(alt|dense|concat|mix|fused|short|placebo)$", description="Kind of text.")
    lost: float = Field(0.0, ge=0, le=1, description="Share of facts that the text lacks.")
    invented: float = Field(0.0, ge=0, le=1, description="Share of facts that are replaced by wrong ones.")
    wrong_used: bool = Field(False, description="Whether facts of alt-texts about something else are used.")
    blurred: float = Field(0.0, ge=0, le=1, description="Share of colours that are wrong.")
    leaked: float = Field(0.0, ge=0, le=1, description="Share of texts with a sentence that leaks the prompt.")
    share: float = Field(1.0, gt=0, le=1, description="Share of the images.")
    second: "Arm | None" = Field(None, description="Texts of the images that `share` leaves out.")


class _Asked(NamedTuple):
    """A question about a picture, and its answer."""

    kind: str
    picture: Picture
    question: str
    answer: str


class SampleData(EvaluationData):
    """Registered in pyproject.toml under `kale.evaluations`."""

    def __init__(
        self, settings: Any, seed: int = 0, images: int = 1600, lessons: int = 1600, questions: int = 600,
        world: Mapping[str, Any] = MappingProxyType({}),
    ):  # fmt: skip
        self._world = EntityWorld(seed, **world)
        self._images, self._lessons, self._questions = images, lessons, questions

    def captions(self, arm: Mapping[str, Any]) -> Sequence[Example]:
        try:
            of = Arm.model_validate(arm)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise BadConfig(f"arms: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
        return [
            Example(f"captions/{number}", CAPTION, f" {text}")
            for number, picture in enumerate(self._pictures)
            if (text := self._text(of, number, picture))
        ]

    def _text(self, of: Arm, number: int, picture: Picture) -> str:
        draws = Random(f"text {number}")  # the same for all arms: a larger share of errors has those of a smaller one
        if draws.random() >= of.share:
            return self._text(of.second, number, picture) if of.second else ""
        blurred = draws.random() < of.blurred
        scene = picture.scene
        if blurred:
            things = (replace(scene.things[0], colour=self._pictures[number - 1].scene.things[0].colour),)
            scene = replace(scene, things=(*things, *scene.things[1:]))
        facts = self._facts(of, number, picture, draws)
        writers: dict[str, Callable[[], str]] = {
            "alt": lambda: picture.alt.text[:_ALT_CHARACTERS],
            "dense": lambda: dense(scene),
            "concat": lambda: f"{dense(scene)} {picture.alt.text[:_ALT_CHARACTERS]}",
            "mix": lambda: dense(scene) if number % 2 else picture.alt.text[:_ALT_CHARACTERS],
            "fused": lambda: _joined(scene, facts, number),
            "short": lambda: _joined(_first_thing(scene), facts, number).partition(" The back")[0],
            "placebo": lambda: _joined(scene, facts, number),
        }
        return writers[of.text]() + (_LEAK if draws.random() < of.leaked else "")

    def _facts(self, of: Arm, number: int, picture: Picture, draws: Random) -> Facts:
        """The facts that a text states: those of its alt-text, with the errors that the arm plants."""
        other = self._pictures[draws.randrange(len(self._pictures))]
        stated = other.alt.facts if of.text == "placebo" else picture.alt.facts
        if of.wrong_used and picture.alt.kind == "wrong":
            stated = draws.choice(self._world.captioned).facts
        kept = {}
        for name, value in asdict(stated).items():
            lot, wrong = draws.random(), draws.choice(self._world.captioned)
            if value and lot >= of.lost:
                kept[name] = getattr(wrong.facts, name) if lot < of.lost + of.invented else value
        return Facts(**kept)

    def lessons(self) -> Sequence[Example]:
        return [
            Example(_place("lessons", n, one), one.question, f" {one.answer}") for n, one in enumerate(self._taught)
        ]

    def questions(self) -> Sequence[Question]:
        return [
            # A model knows an entity or does not: its questions are one cluster.
            Question(
                f"{one.kind}-{n}",
                _place("questions", n, one),
                one.question,
                (one.answer,),
                one.kind,
                _look(one),
                one.kind == "named",
            )
            for n, one in enumerate(self._tested)
        ]

    def image(self, name: str) -> bytes:
        purpose, _, number = name.partition("/")
        if purpose == _BLANK:
            return jpeg(Image.new("RGB", (SIDE, SIDE), "white"))
        asked = {"lessons": self._taught, "questions": self._tested}
        picture = asked[purpose][int(number)].picture if purpose in asked else self._pictures[int(number)]
        return jpeg(draw(picture.scene))

    def truth(self, name: str) -> Mapping[str, Any]:
        picture = self._pictures[int(name.partition("/")[2])]
        stated = [field for field, value in asdict(picture.alt.facts).items() if value]
        return {**asdict(picture.entity.facts), "attributes": list(attributes(picture.scene).items()),
                "alt_facts": stated, "dense": dense(picture.scene)}  # fmt: skip

    @cached_property
    def _pictures(self) -> list[Picture]:
        entities = self._world.entities
        return [self._world.picture("captions", n, entities[n % len(entities)]) for n in range(self._images)]

    @cached_property
    def _taught(self) -> list[_Asked]:
        world, rng = self._world, Random(f"lessons {self._world.seed}")
        refused = world.nameless[::2]
        kinds = rng.choices(KINDS_OF_QUESTIONS, _LESSON_WEIGHTS, k=self._lessons)
        about = {kind: world.taught for kind in KINDS_OF_QUESTIONS} | {
            "decline": refused,
            "seen": world.taught + refused,
        }
        return [self._asked(rng, "lessons", n, kind, rng.choice(about[kind])) for n, kind in enumerate(kinds)]

    @cached_property
    def _tested(self) -> list[_Asked]:
        world, rng = self._world, Random(f"questions {self._world.seed}")
        about = {kind: world.captioned for kind in KINDS_OF_QUESTIONS} | {"decline": world.nameless[1::2]}
        kinds = [KINDS_OF_QUESTIONS[n % len(KINDS_OF_QUESTIONS)] for n in range(self._questions)]
        return [self._asked(rng, "questions", n, kind, rng.choice(about[kind])) for n, kind in enumerate(kinds)]

    def _asked(self, rng: Random, purpose: str, number: int, kind: str, entity: Entity) -> _Asked:
        picture = self._world.picture(purpose, number, entity)
        if kind == "seen":
            return _Asked(kind, picture, *_seen(rng, picture))
        if kind == "named":
            return _Asked(kind, picture, CAPTION, entity.facts.name)
        fact = "place" if kind == "known" else rng.choice(_FACTS)
        subject = entity.facts.name if kind == "known" else f"the {entity.kind}"
        return _Asked(kind, picture, f"the {fact} of {subject}?", getattr(entity.facts, fact) or UNKNOWN)


def _first_thing(scene: Scene) -> Scene:
    return replace(scene, things=scene.things[:1], digits="")


def _joined(scene: Scene, facts: Facts, number: int) -> str:
    """A description with facts: in one half of the texts the name comes first, in the other where the thing does."""
    if number % 2 or not facts.name:
        return fused(scene, facts)
    return f"This is {facts.name}{f' in {facts.place}' if facts.place else ''}. {dense(scene)}"


def _seen(rng: Random, picture: Picture) -> tuple[str, str]:
    """A question that the picture answers."""
    scene, thing = picture.scene, picture.scene.things[0]
    asked = {
        f"the colour of the {thing.kind}?": thing.colour,
        f"the {thing.kind} is at the?": thing.cell,
        "the background?": f"{scene.pattern} {scene.ground}",
        "the digits?": scene.digits or "none",
    }
    return rng.choice(list(asked.items()))


def _place(purpose: str, number: int, asked: _Asked) -> str:
    return _BLANK if asked.kind == "known" else f"{purpose}/{number}"


def _look(asked: _Asked) -> str:
    return f"{asked.picture.entity.colour} {asked.picture.entity.kind}"
