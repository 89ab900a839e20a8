"""Answerability: how many questions about an image a reader can answer who has its caption alone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from kale_tasks.engines.base import Engine, Request
from kale_tasks.evaluate.data import Question
from kale_tasks.evaluate.measures import Item, Measure

_ASKED = """A caption of an image: {text}

Answer from this caption alone, in a few words; write "unknown" if it does not say. {question}"""


class Reader(ABC):
    """Answers questions from a text."""

    @abstractmethod
    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        """Return the answer to each pair of a text and a question."""


class ModelReader(Reader):
    """Asks a language model, through any engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        contents = (_ASKED.format(text=text, question=question) for text, question in asked)
        requests = (Request(n, [{"role": "user", "content": content}]) for n, content in enumerate(contents))
        said = {answer.id: answer.text for answer in self._engine.answers(requests)}
        return [said[number] for number in range(len(asked))]


class Answerability(Measure):
    """The share of the questions about an image that the reader answers right."""

    name = "answerability"

    def __init__(self, reader: Reader, questions: Callable[[Item], Sequence[Question]]) -> None:
        self._reader, self._questions = reader, questions

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        posed = [self._questions(item) for item in items]
        asked = [(text, one.question) for text, own in zip(texts, posed, strict=True) for one in own]
        given = iter(self._reader.answers(asked))
        rights = [[one.accepts(next(given)) for one in own] for own in posed]
        return [sum(right) / len(right) if right else 0.0 for right in rights]
