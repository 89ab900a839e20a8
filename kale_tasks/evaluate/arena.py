"""The pairwise arena: strengths of texts from comparisons (Bradley-Terry), with order and length taken out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kale_tasks.evaluate.intervals import Estimate

Floats = npt.NDArray[np.float64]
_RIDGE = 1e-6  # keeps the strength of one that never loses finite
_STEPS = 50


@dataclass(frozen=True)
class Comparison:
    """A judge's choice between two texts about the same image, the first of which was shown first."""

    image: str
    first: str  # whose text
    second: str
    score: float  # 1: the first is better, 0: the second is, 0.5: neither
    words: tuple[int, int]


@dataclass(frozen=True)
class Strengths:
    """What a fit found, as log odds: each competitor against the mean, the first place, and ten per cent more words."""

    of: dict[str, Estimate]
    first_place: Estimate
    length: Estimate | None


def fit(comparisons: Sequence[Comparison], length: bool = False) -> Strengths:
    """Fit strengths; with `length`, hold the number of words constant. Errors are clustered by image."""
    names = sorted({name for one in comparisons for name in (one.first, one.second)})
    columns = {name: number for number, name in enumerate(names)}
    design = np.zeros((len(comparisons), len(names) + 1 + length))
    for row, one in zip(design, comparisons, strict=True):
        row[columns[one.first]] += 1
        row[columns[one.second]] -= 1
        row[len(names)] = 1
        if length:
            first, second = one.words
            row[-1] = np.log(max(first, 1) / max(second, 1)) / np.log(1.1)
    won = np.array([one.score for one in comparisons])
    found, covariance = _logistic(design, won, [one.image for one in comparisons])
    centre = np.eye(len(found))
    centre[: len(names), : len(names)] -= 1 / len(names)
    found, covariance = centre @ found, centre @ covariance @ centre.T
    errors = np.sqrt(np.maximum(covariance.diagonal(), 0))
    estimates = [Estimate(float(value), float(error)) for value, error in zip(found, errors, strict=True)]
    return Strengths(
        dict(zip(names, estimates, strict=False)), estimates[len(names)], estimates[-1] if length else None
    )


def _logistic(design: Floats, won: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Fit by Newton's method; the covariance is the sandwich over clusters."""
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-design @ weights))
        bend = (design.T * (share * (1 - share))) @ design + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(bend, design.T @ (won - share) - _RIDGE * weights)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    slopes = design * (won - 1 / (1 + np.exp(-design @ weights)))[:, None]
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(numbers), design.shape[1]))
    np.add.at(sums, [numbers[cluster] for cluster in clusters], slopes)
    inverse = np.linalg.inv(bend)
    return weights, inverse @ (sums.T @ sums) @ inverse
