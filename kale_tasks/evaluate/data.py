"""What an evaluation is made of: images, the texts of each arm, lessons to tune on, and questions to answer."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kale_tasks.errors import BadConfig
from kale_tasks.registry import Registry


class Example(NamedTuple):
    """An image, what is asked of it, and the answer to learn; pre-training asks for the caption."""

    image: str
    question: str
    answer: str


class Question(NamedTuple):
    """A question with its accepted answers. Questions of one cluster, mostly an image, are not independent.

    With `within`, an answer is right that says one of them beside other words.
    """

    uid: str
    image: str
    question: str
    answers: tuple[str, ...]
    kind: str
    cluster: str
    within: bool = False

    def accepts(self, answer: str) -> bool:
        """Whether an answer is one of the accepted ones, apart from case, white space and the end of a sentence."""
        given = _plain(answer)
        if self.within:
            return any(re.search(rf"(?<!\w){re.escape(_plain(one))}(?!\w)", given) for one in self.answers)
        return given in map(_plain, self.answers)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(". ")


class EvaluationData(ABC):
    """A source of everything. Arms see the same images; only their texts differ."""

    @abstractmethod
    def captions(self, arm: Mapping[str, Any]) -> Sequence[Example]:
        """Return the texts of an arm with their images; BadConfig if its options are unknown."""

    @abstractmethod
    def lessons(self) -> Sequence[Example]:
        """Return the instruction set that every arm is tuned on."""

    @abstractmethod
    def questions(self) -> Sequence[Question]:
        """Return all questions."""

    @abstractmethod
    def image(self, name: str) -> bytes:
        """Return the bytes of an image."""

    def truth(self, name: str) -> Mapping[str, Any]:
        """Return what is true of an image of the captions; BadConfig if the source does not know."""
        raise BadConfig("The data of this design has no truth. Judge its texts with `kale evaluate captions --key`.")


DATA: Registry[Callable[..., EvaluationData]] = Registry(
    "evaluation data", "kale.evaluations", {"lake": "kale_tasks.evaluate.lake_data:LakeData"}
)


def open_data(options: Mapping[str, Any], settings: Any) -> EvaluationData:
    """Open a source by the options of a design; BadConfig if it is unknown or rejects them."""
    given = dict(options)
    name = str(given.pop("source", ""))
    found = DATA.find(name)
    try:
        return found(settings=settings, **given)
    except TypeError as error:
        raise BadConfig(f"The evaluation data '{name}' rejects its options {given}: {error}") from error
