"""Metrics of captions: each is a quotient of two sums over captions, so that an interval can be drawn for it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kale_tasks.likeness.wording import Floats, Wording
from kale_tasks.text.attributes import contradictions, find_attributes
from kale_tasks.text.facts import is_number
from kale_tasks.text.grounding import ground
from kale_tasks.text.sentences import is_whole
from kale_tasks.text.support import Source, squash

_WORD = re.compile(r"[^\W_]+")
_ROUNDS = 2000
_LEVEL = 0.9  # of two-sided intervals: each bound is one-sided at 95 %


class Sample(Protocol):
    """What a teacher wrote about an image, and what it was made from."""

    @property
    def uid(self) -> str:
        """The uid of the pair."""

    @property
    def alt(self) -> str:
        """The alt-text, as prompts use it."""

    @property
    def dense(self) -> str:
        """The description of the image, or an empty text."""

    @property
    def caption(self) -> str:
        """The caption."""


@dataclass(frozen=True)
class CaptionMetrics:
    """Metrics of some captions. Shares are between 0 and 1."""

    rows: int
    facts_carried: float  # of the alt-text facts in the teacher's captions
    attributes_wrong: float  # of the colours and sides: those that its teacher's texts say of nothing or not of this
    facts_invented: float  # of all stated facts: those in neither the alt-text nor the dense caption
    description: float  # likeness to the teacher's captions: 0 is a caption of another image, 1 the teacher's own
    alike: float  # likeness to the teacher's captions above that of captions of other images, whatever the teacher's
    words: float
    repetition: float  # of the groups of four words: those that occurred before in the same caption
    cut_off: float  # of the captions: those that do not end with a whole sentence
    bits: float | None = None  # loss per character of the teacher's captions


@dataclass(frozen=True)
class Quotient:
    """A figure that is one sum over captions divided by another, and what it is if there is nothing to divide by."""

    counted: Floats
    of: Floats
    empty: float = 0.0

    @property
    def value(self) -> float:
        """The figure over all captions."""
        return float(self.over(np.ones((1, len(self.of))))[0])

    def over(self, draws: npt.NDArray[np.float64]) -> Floats:
        """Return the figure for each row of draws, which say how often each caption counts."""
        counted, of = draws @ self.counted, draws @ self.of
        return np.where(of > 0, counted / np.where(of > 0, of, 1), self.empty)


def measure(
    texts: Sequence[str], samples: Sequence[Sample], wording: Wording, again: Mapping[str, str]
) -> dict[str, Quotient]:
    """Measure texts beside the teacher's captions of the same samples.

    `again` has the teacher's captions at another seed, by uid, of all samples or of some: a text that is as close to
    the teacher's as these says the same. Without any, only the teacher's own words are as good as its own words.
    """
    teacher = [sample.caption for sample in samples]
    others = wording.likeness([*teacher[1:], *teacher[:1]], teacher)
    same, ones = _same(samples, wording, again), np.ones(len(texts))
    alike = wording.likeness(texts, teacher) - others
    return {
        "facts_carried": replace(_summed(_carried, texts, samples), empty=1.0),
        "attributes_wrong": _summed(_wrong, texts, samples),
        "facts_invented": _summed(_invented, texts, samples),
        "description": Quotient(alike, same - others),
        "alike": Quotient(alike, ones),
        "words": Quotient(np.array([len(text.split()) for text in texts], np.float64), ones),
        "repetition": _summed(_repeated, texts, samples),
        "cut_off": Quotient(np.array([not is_whole(text) for text in texts], np.float64), ones),
    }


def measure_teacher(samples: Sequence[Sample], wording: Wording, again: Mapping[str, str]) -> dict[str, Quotient]:
    """Measure the teacher's captions as those of a student.

    How often a caption may name a colour that the teacher did not name is known from its captions at another seed.
    """
    measured = measure([sample.caption for sample in samples], samples, wording, again)
    others = [again.get(sample.uid, "") for sample in samples]
    return {**measured, "attributes_wrong": _summed(_wrong, others, samples)}


def caption_metrics(measured: Mapping[str, Quotient], bits: float | None = None) -> CaptionMetrics:
    """Return the metrics of what was measured."""
    values = {name: round(one.value, 4) for name, one in measured.items()}
    return CaptionMetrics(rows=len(measured["words"].of), **values, bits=bits)


def interval(one: Quotient, less: Quotient | None = None) -> tuple[float, float]:
    """Return the 90 % bootstrap interval of a figure, or of its difference from that of others for the same samples."""
    rows = len(one.of)
    draws = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), _ROUNDS).astype(np.float64)
    drawn = one.over(draws) - (less.over(draws) if less else 0)
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _same(samples: Sequence[Sample], wording: Wording, again: Mapping[str, str]) -> Floats:
    known = np.array([sample.uid in again for sample in samples])
    if not known.any():
        return np.ones(len(samples))
    other = [again.get(sample.uid, sample.caption) for sample in samples]
    found = wording.likeness(other, [sample.caption for sample in samples])
    return np.where(known, found, found[known].mean())


def _summed(of: Callable[[str, Sample], tuple[int, int]], texts: Sequence[str], samples: Sequence[Sample]) -> Quotient:
    counted, total = np.array([of(*pair) for pair in zip(texts, samples, strict=True)], np.float64).reshape(-1, 2).T
    return Quotient(counted, total)


def _carried(text: str, sample: Sample) -> tuple[int, int]:
    wanted = ground(sample.caption, sample.dense, sample.alt).from_alt
    return sum(states(text, fact) for fact in wanted), len(wanted)


def states(text: str, fact: str) -> bool:
    """Whether a text states a name, as whole words in whatever spelling, or a number, in whatever notation."""
    without_capitals = fact.lower() == fact.upper()  # a script that often has no spaces either
    if without_capitals or is_number(fact.split(maxsplit=1)[0]):
        return Source.of(text).supports(fact)
    return _words(fact) in _words(text)


def _words(text: str) -> str:
    return f" {' '.join(map(squash, _WORD.findall(text)))} "


def _invented(text: str, sample: Sample) -> tuple[int, int]:
    found = ground(text, sample.dense, sample.alt)
    return len(found.invented), len(found.facts)


def _wrong(text: str, sample: Sample) -> tuple[int, int]:
    found = find_attributes(text)
    known = find_attributes("\n".join((sample.caption, sample.dense, sample.alt))) if found else []
    return contradictions(found, known), len(found)


def _repeated(text: str, _sample: Sample) -> tuple[int, int]:
    words = text.lower().split()
    groups = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return len(groups) - len(set(groups)), len(groups)
