"""Judges of pairs of texts, and the rounds of the arena: every pair is shown in both orders."""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from kale_tasks.engines.base import Engine, Request
from kale_tasks.evaluate.arena import Comparison, Strengths, fit
from kale_tasks.evaluate.intervals import Estimate, mean
from kale_tasks.evaluate.measures import Item, Measure, Texts

FIRST, SECOND, NEITHER = 1.0, 0.0, 0.5
_ASKED = """Two captions of the image follow. Which one describes it better: right, complete, and without anything that
is not so? A longer one is not better for its length. Answer with A, B or TIE.

A: {first}

B: {second}"""


class PairJudge(ABC):
    """Says which of two texts about an image is better."""

    @abstractmethod
    def choose(self, shown: Sequence[tuple[Item, str, str]]) -> list[float]:
        """Return FIRST, SECOND or NEITHER for each item and its two texts, in the order in which they are shown."""


class MeasureJudge(PairJudge):
    """Prefers the text with the higher score, unless the scores are close."""

    def __init__(self, measure: Measure, close: float = 0.0) -> None:
        self._measure, self._close = measure, close

    def choose(self, shown: Sequence[tuple[Item, str, str]]) -> list[float]:
        items = [item for item, _, _ in shown]
        columns = [[first for _, first, _ in shown], [second for _, _, second in shown]]
        scores = [self._measure.scores(items, column, [columns[1 - at]]) for at, column in enumerate(columns)]
        return [self._better(first - second) for first, second in zip(*scores, strict=True)]

    def _better(self, lead: float) -> float:
        return NEITHER if abs(lead) <= self._close else FIRST if lead > 0 else SECOND


class ModelJudge(PairJudge):
    """Asks a vision-language model, through any engine. An answer that says neither A nor B counts as a tie."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def choose(self, shown: Sequence[tuple[Item, str, str]]) -> list[float]:
        said = {answer.id: answer.text for answer in self._engine.answers(_requests(shown))}
        return [_verdict(said[number]) for number in range(len(shown))]


def _requests(shown: Sequence[tuple[Item, str, str]]) -> Iterator[Request]:
    for number, (item, first, second) in enumerate(shown):
        text = {"type": "text", "text": _ASKED.format(first=first, second=second)}
        yield Request(number, [{"role": "user", "content": [{"type": "image"}, text]}], _png(item.image))


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _verdict(text: str) -> float:
    word = text.strip().strip("*.:\"'").split(maxsplit=1)[0].strip("*.:,\"'").upper() if text.strip() else ""
    return {"A": FIRST, "B": SECOND}.get(word, NEITHER)


def compare(judge: PairJudge, items: Sequence[Item], texts: Texts) -> list[Comparison]:
    """Show every pair of arms for each item, in both orders."""
    shown = [
        (item, names, at)
        for pair in combinations(texts, 2)
        for names in (pair, pair[::-1])
        for at, item in enumerate(items)
    ]
    chosen = judge.choose([(item, texts[first][at], texts[second][at]) for item, (first, second), at in shown])
    return [
        Comparison(item.uid, first, second, score, (len(texts[first][at].split()), len(texts[second][at].split())))
        for (item, (first, second), at), score in zip(shown, chosen, strict=True)
    ]


def win_rate(comparisons: Sequence[Comparison], one: str, other: str) -> Estimate:
    """Estimate the share of comparisons that an arm wins against another, both orders together."""
    scores = [
        (each.score if each.first == one else 1 - each.score, each.image)
        for each in comparisons
        if {each.first, each.second} == {one, other}
    ]
    return mean([score for score, _ in scores], [image for _, image in scores])


def arena_rows(comparisons: Sequence[Comparison]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row for each arm, best first, and what is known of the judge: its taste for the first and the long."""
    plain, controlled = fit(comparisons), fit(comparisons, length=True)
    rows = [
        {"arm": name, **_strength(plain, name, ""), **_strength(controlled, name, "at equal length ")}
        for name in sorted(plain.of, key=lambda name: -controlled.of[name].value)
    ]
    assert controlled.length
    tastes = {"first place": plain.first_place, "ten per cent more words": controlled.length}
    taste = {name: {"log odds": round(one.value, 3), "p": round(one.p_differs(), 4)} for name, one in tastes.items()}
    return rows, taste


def _strength(found: Strengths, name: str, prefix: str) -> dict[str, float]:
    low, high = found.of[name].interval()
    return {
        f"{prefix}strength": round(found.of[name].value, 3),
        f"{prefix}low": round(low, 3),
        f"{prefix}high": round(high, 3),
    }
