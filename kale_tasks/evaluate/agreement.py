"""Agreement of readers (kappa), and how well a score separates two groups (AUC)."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from kale_tasks.evaluate.intervals import Estimate, bootstrap


def kappa(rows: Sequence[Sequence[Hashable]]) -> float:
    """Return Fleiss' kappa of the verdicts of two or more readers on each row; rows with one verdict do not count.

    1: full agreement; 0: as much as chance gives. NaN if nothing was judged twice or all verdicts are equal.
    """
    counted = [Counter(row) for row in rows if len(row) > 1]
    if not counted:
        return float("nan")
    agreed = float(np.mean([_agreement(counts) for counts in counted]))
    total = sum(counted, Counter[Hashable]())
    chance = sum((n / total.total()) ** 2 for n in total.values())
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def kappa_interval(
    rows: Sequence[Sequence[Hashable]], rounds: int = 500, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of kappa over rows."""
    rng = np.random.default_rng(seed)
    drawn = [kappa([rows[at] for at in rng.integers(0, len(rows), len(rows))]) for _ in range(rounds)]
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def agreement_interval(rows: Sequence[Sequence[Hashable]]) -> tuple[float, float]:
    """Return the bootstrap interval of the share of pairs of readers that agree."""
    return bootstrap([_agreement(Counter(row)) for row in rows if len(row) > 1])


def _agreement(counts: Counter[Hashable]) -> float:
    """The share of the pairs of readers of a row that agree."""
    n = counts.total()
    return sum(k * (k - 1) for k in counts.values()) / (n * (n - 1))


def auc(positive: Sequence[float], negative: Sequence[float]) -> Estimate:
    """Estimate how often a positive scores higher than a negative, ties counted half (standard error by DeLong)."""
    scores = np.asarray(positive, float)[:, None], np.asarray(negative, float)[None, :]
    wins = (scores[0] > scores[1]) + 0.5 * (scores[0] == scores[1])
    by_positive, by_negative = wins.mean(1), wins.mean(0)
    variance = _spread(by_positive) + _spread(by_negative)
    return Estimate(float(wins.mean()), float(np.sqrt(variance)))


def _spread(values: "np.typing.NDArray[np.float64]") -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
