"""Metrics of captions: each is a quotient of two sums over captions, so that an interval can be drawn for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.wording import Floats, Wording
from kale_tasks.text.grounding import ground
from kale_tasks.text.sentences import is_whole
from kale_tasks.text.support import Source

_ROUNDS = 2000
_LEVEL = 0.9  # of two-sided intervals: each bound is one-sided at 95 %


@dataclass(frozen=True)
class GeneratedCaption:
    """What a model wrote for a held-out sample."""

    sample: CaptionSample
    text: str


@dataclass(frozen=True)
class CaptionMetrics:
    """Metrics of some captions. Shares are between 0 and 1."""

    rows: int
    facts_carried: float  # of the alt-text facts in the teacher's captions
    facts_invented: float  # of all stated facts: those in neither the alt-text nor the dense caption
    description: float  # likeness to the teacher's captions: 0 is a caption of another image, 1 the teacher's own
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
    texts: Sequence[str], samples: Sequence[CaptionSample], wording: Wording, again: Sequence[str] = ()
) -> dict[str, Quotient]:
    """Measure texts beside the teacher's captions of the same samples.

    `again` has the teacher's captions at another seed: a text that is as close to the teacher's as these says the same.
    """
    teacher = [sample.caption for sample in samples]
    others = wording.likeness([*teacher[1:], *teacher[:1]], teacher)
    same = wording.likeness(again, teacher) if again else np.ones(len(teacher))
    ones = np.ones(len(texts))
    return {
        "facts_carried": replace(_summed(_carried, texts, samples), empty=1.0),
        "facts_invented": _summed(_invented, texts, samples),
        "description": Quotient(wording.likeness(texts, teacher) - others, same - others),
        "words": Quotient(np.array([len(text.split()) for text in texts], np.float64), ones),
        "repetition": _summed(_repeated, texts, samples),
        "cut_off": Quotient(np.array([not is_whole(text) for text in texts], np.float64), ones),
    }


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


def _summed(
    of: Callable[[str, CaptionSample], tuple[int, int]], texts: Sequence[str], samples: Sequence[CaptionSample]
) -> Quotient:
    counted, total = np.array([of(*pair) for pair in zip(texts, samples, strict=True)], np.float64).reshape(-1, 2).T
    return Quotient(counted, total)


def _carried(text: str, sample: CaptionSample) -> tuple[int, int]:
    wanted = ground(sample.caption, sample.dense, sample.alt).from_alt
    return sum(Source.of(text).supports(fact) for fact in wanted), len(wanted)


def _invented(text: str, sample: CaptionSample) -> tuple[int, int]:
    found = ground(text, sample.dense, sample.alt)
    return len(found.invented), len(found.facts)


def _repeated(text: str, _sample: CaptionSample) -> tuple[int, int]:
    words = text.lower().split()
    groups = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return len(groups) - len(set(groups)), len(groups)
