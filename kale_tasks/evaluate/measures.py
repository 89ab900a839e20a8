"""Measures of captions that need no training: a score for each text of an image, and tables of arms with intervals.

None of them is a gate. Each has its blind spots, so several are shown beside each other, and each of them once more
on texts of equal length, as long texts win most comparisons by their length.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kale_tasks.evaluate.intervals import Estimate, mean, paired
from kale_tasks.experts.base import Embedder, ExpertRow, Scorer
from kale_tasks.text.grounding import invented
from kale_tasks.text.sentences import sentences

Texts = Mapping[str, Sequence[str]]  # of each arm, in the order of the items


@dataclass(frozen=True)
class Item:
    """An image of which every arm has a text: decoded, with a reference text, and what is known to be true of it."""

    uid: str
    image: Any = None
    about: Any = None
    reference: str = ""


class Measure(ABC):
    """Scores texts about images; higher is better. The same items and texts always get the same scores."""

    name: ClassVar[str]
    warning: ClassVar[str] = ""

    @abstractmethod
    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        """Return the score of each text; `others` are the texts of the other arms, in the same order."""


class Fit(Measure):
    """How well a scorer finds that texts fit their images."""

    name = "fit"

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        return self._scorer.scores([(item.image, text) for item, text in zip(items, texts, strict=True)])


class SelfRetrieval(Measure):
    """Whether a text fits its own image best in a bag of look-alikes, ties shared."""

    name = "self-retrieval"

    def __init__(self, scorer: Scorer, embedder: Embedder, bag: int = 4) -> None:
        self._scorer, self._embedder, self._bag = scorer, embedder, bag

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        bags = look_alikes(self._embedder, items, self._bag)
        pairs = [(items[at].image, text) for bag, text in zip(bags, texts, strict=True) for at in bag]
        rated = iter(self._scorer.scores(pairs))
        return [_first(np.array([next(rated) for _ in bag])) for bag in bags]


def look_alikes(embedder: Embedder, items: Sequence[Item], count: int) -> list[list[int]]:
    """Return for each item its number, then those of the items whose images look most like its own."""
    vectors = embedder.vectors([ExpertRow(item.uid, "", item.image) for item in items])
    nearness = vectors @ vectors.T
    np.fill_diagonal(nearness, np.inf)
    return [[int(at) for at in row[:count]] for row in np.argsort(-nearness, axis=1, kind="stable")]


def _first(scores: "np.typing.NDArray[np.float64]") -> float:
    best = scores >= scores.max()
    return float(best[0]) / float(best.sum())


class Agreement(Measure):
    """How far the other arms support what a text says, sentence by sentence: what one alone says may be invented."""

    name = "agreement"

    def __init__(self, scorer: Scorer | None = None) -> None:
        self._scorer = scorer

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        found = []
        for text, rest in zip(texts, zip(*others, strict=True), strict=True):
            supported = self.of_sentences(text, rest)
            found.append(float(np.mean(supported)) if supported else 0.0)
        return found

    def of_sentences(self, text: str, others: Sequence[str]) -> list[float]:
        """Return the support of each sentence: the mean over the other texts of the best match of its sentences."""
        parts = [part.strip() for part in sentences(text)]
        return [float(np.mean([self._support(part, other) for other in others])) for part in parts]

    def _support(self, sentence: str, other: str) -> float:
        """1 less the share of words and facts that the other text lacks, or by the scorer."""
        if self._scorer:
            return max(self._scorer.scores([(part, sentence) for part in sentences(other) or [""]]))
        own, known = set(sentence.lower().split()), set(other.lower().split())
        new = invented(sentence, other, "")
        return (len(own & known) / max(1, len(own))) / (1 + len(new))


def judge(
    measures: Sequence[Measure],
    items: Sequence[Item],
    texts: Texts,
    baseline: str,
    clusters: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each measure and arm: the mean and its interval, the difference from the baseline, and both on
    texts that were cut to the words of the shortest one about the same image."""  # fmt: skip
    rows, equal = [], equal_length(texts)
    for measure in measures:
        plain, matched = (_scored(measure, items, some) for some in (texts, equal))
        for arm in texts:
            value, gain = mean(plain[arm], clusters), paired(plain[arm], plain[baseline], clusters)
            fair = paired(matched[arm], matched[baseline], clusters)
            rows.append({
                "measure": measure.name, "arm": arm, "words": round(float(np.mean(_words(texts[arm]))), 1),
                "mean": round(value.value, 4), **_ends(value, ""), "gain": round(gain.value, 4), **_ends(gain, "gain "),
                "at equal length": round(float(np.mean(matched[arm])), 4),
                "gain at equal length": round(fair.value, 4), **_ends(fair, "equal "),
            })  # fmt: skip
    return rows


def _scored(measure: Measure, items: Sequence[Item], texts: Texts) -> dict[str, Sequence[float]]:
    return {
        arm: measure.scores(items, own, [other for name, other in texts.items() if name != arm])
        for arm, own in texts.items()
    }


def equal_length(texts: Texts) -> dict[str, list[str]]:
    """Cut the texts about each image to as many words as the shortest of them has."""
    shortest = [min(lengths) for lengths in zip(*map(_words, texts.values()), strict=True)]
    return {
        arm: [" ".join(text.split()[:words]) for text, words in zip(own, shortest, strict=True)]
        for arm, own in texts.items()
    }


def _words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def _ends(estimate: Estimate, prefix: str) -> dict[str, float]:
    low, high = estimate.interval()
    return {f"{prefix}low": round(low, 4), f"{prefix}high": round(high, 4)}
