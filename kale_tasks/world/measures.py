"""Measures of captions against the truth of the sample world: unit facts, and a reader that parses."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kale_tasks.evaluate.answerable import Answerability, Reader
from kale_tasks.evaluate.data import Question
from kale_tasks.evaluate.measures import Item, Measure
from kale_tasks.text.grounding import invented
from kale_tasks.world.describe import read

FACTS = ("name", "place", "year", "maker")


class UnitFacts(Measure):
    """The unit facts that a text states, visible attributes and facts, against the truth of its image.

    `about` of an item is its row of the truth. Facts that no alt-text of the image says need not be stated.
    """

    name = "unit facts"
    part: ClassVar[str] = "F1"

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        return [unit_score(text, item.about)[self.part] for item, text in zip(items, texts, strict=True)]


class TrueFacts(UnitFacts):
    """The share of what a text states that is true."""

    name = "true facts"
    part = "precision"


class CarriedFacts(UnitFacts):
    """The share of the facts of the alt-text that a text states; 1 if there is none, and 0 without a text."""

    name = "carried facts"
    part = "carried"


MEASURES = {one.name: one for one in (UnitFacts, TrueFacts, CarriedFacts)}


def unit_score(text: str, truth: Mapping[str, Any]) -> dict[str, float]:
    """Return precision, recall and F1 of the unit facts of a text, the share of the facts of the alt-text that it
    carries, and how many facts it invents."""  # fmt: skip
    visible, claimed = dict(truth["attributes"]), read(text).attributes
    right = sum(visible.get(name) == value for name, value in claimed.items())
    wanted = [truth[name] for name in truth["alt_facts"]]
    carried = sum(_says(text, fact) for fact in wanted)
    known = [truth[name] for name in FACTS if truth[name]]
    stated = sum(_says(text, fact) for fact in known)
    wrong = len(invented(text, truth["dense"], ", ".join(known)))
    precision = (right + stated) / max(1, len(claimed) + stated + wrong)
    recall = (right + carried) / max(1, len(visible) + len(wanted))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    share = carried / len(wanted) if wanted else float(bool(text))
    return {"precision": precision, "recall": recall, "F1": f1, "carried": share, "invented": wrong}


def answerability(reader: Reader | None = None) -> Answerability:
    """Answerability of the questions that the truth of an image gives, by default by a reader that parses captions."""
    return Answerability(reader or ParsingReader(), questions_about)


class ParsingReader(Reader):
    """Reads captions by the grammar of the sample world. It knows what a caption says, and nothing else."""

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        return [self._answer(text, question) for text, question in asked]

    def _answer(self, text: str, question: str) -> str:
        claims, asked = read(text), question.removeprefix("the ").removesuffix("?")
        return str(getattr(claims.facts, asked)) if asked in FACTS else claims.attributes.get(asked, "unknown")


def questions_about(item: Item) -> Sequence[Question]:
    """The questions that an image and its alt-text answer: one for each visible attribute and stated fact."""
    truth = item.about
    answers = {**dict(truth["attributes"]), **{name: truth[name] for name in truth["alt_facts"]}}
    return [
        Question(f"{item.uid} {name}", item.uid, f"the {name}?", (answer,), "text", item.uid)
        for name, answer in answers.items()
    ]


def _says(text: str, fact: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", text))
