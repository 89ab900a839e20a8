"""Estimates with standard errors: plain, paired, clustered, over seeds and questions at once, and bootstrapped.

And what is decided by them: differences, with Holm over several of them, non-inferiority and equivalence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NORMAL = NormalDist()
_TINY = 1e-300


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, and the degrees of freedom of that error."""

    value: float
    error: float
    freedom: float = math.inf

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of a level."""
        reach = t_quantile(0.5 + level / 2, self.freedom) * self.error
        return self.value - reach, self.value + reach

    def p_above(self, bound: float = 0.0) -> float:
        """Return the one-sided p-value of the value being above a bound: small if it is."""
        if self.error == 0:
            return 0.0 if self.value > bound else 1.0
        return 1 - t_share((self.value - bound) / self.error, self.freedom)

    def p_differs(self, bound: float = 0.0) -> float:
        """Return the two-sided p-value of the value being different from a bound."""
        above = self.p_above(bound)
        return min(1.0, 2 * min(above, 1 - above))


def mean(values: Any, clusters: Sequence[Any] | None = None) -> Estimate:
    """Estimate a mean. Values of one cluster, such as questions on the same image, may depend on each other."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0:
        return Estimate(math.nan, math.nan, 1)
    sums = _sums(x - x.mean(), clusters)
    groups = len(sums)
    if groups < 2:
        return Estimate(float(x.mean()), math.inf, 1)
    error = math.sqrt(groups / (groups - 1) * float(sums @ sums)) / len(x)
    return Estimate(float(x.mean()), error, groups - 1)


def paired(first: Any, second: Any, clusters: Sequence[Any] | None = None) -> Estimate:
    """Estimate the mean difference of two series about the same things, in the same order."""
    return mean(np.asarray(first, np.float64) - np.asarray(second, np.float64), clusters)


@dataclass(frozen=True)
class Spread:
    """The variance of a mean over seeds, and its degrees of freedom."""

    variance: float
    freedom: float


def crossed(differences: Any, clusters: Sequence[Any] | None = None, spread: Spread | None = None) -> Estimate:
    """Estimate the mean of a table of seeds (rows) by questions (columns); both are samples.

    The variance is that between clusters of questions plus that between seeds, less what both contain of chance in
    single cells. Its degrees of freedom (Satterthwaite) are few when the seeds disagree: three seeds alone show little.
    `spread` is the part of the seeds as measured on more than this table, such as on all arms together.
    """
    table = np.atleast_2d(np.asarray(differences, np.float64))
    seeds, questions = table.shape
    by_question = mean(table.mean(0), clusters)
    if seeds < 2:
        return by_question
    own = mean(table.mean(1))
    by_seed = spread or Spread(own.error**2, seeds - 1)
    centred = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    cells = np.stack([_sums(row, clusters) for row in centred])
    groups = cells.shape[1]
    scale = seeds * groups / max(1, (seeds - 1) * (groups - 1)) / (seeds * questions) ** 2
    chance = scale * float((cells**2).sum())
    parts = [(by_question.error**2, groups - 1), (by_seed.variance, by_seed.freedom)]
    variance = max(sum(part for part, _ in parts) - chance, *(part for part, _ in parts))
    freedom = variance**2 / max(_TINY, sum(part**2 / max(1, df) for part, df in parts))
    return Estimate(float(table.mean()), math.sqrt(variance), max(1.0, freedom))


def bootstrap(
    values: Any, clusters: Sequence[Any] | None = None, rounds: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of a mean, from clusters that are drawn with replacement."""
    x = np.asarray(values, np.float64)
    sums, sizes = _sums(x, clusters), _sums(np.ones(len(x)), clusters)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), rounds)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of several comparisons: at most `alpha` errors in all if each is held against `alpha`."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def not_inferior(difference: Estimate, margin: float) -> float:
    """Return the p-value of a difference being above minus the margin: small if nothing that matters is lost."""
    return difference.p_above(-margin)


def equivalent(difference: Estimate, margin: float) -> float:
    """Return the p-value of a difference being within the margin on both sides (two one-sided tests)."""
    below = Estimate(-difference.value, difference.error, difference.freedom)
    return max(difference.p_above(-margin), below.p_above(-margin))


def _sums(values: Floats, clusters: Sequence[Any] | None) -> Floats:
    """Sum the values of each cluster; without clusters, each value is one."""
    if clusters is None:
        return values
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.bincount([numbers[cluster] for cluster in clusters], values, len(numbers))
    return np.asarray(sums, np.float64)


def t_share(t: float, freedom: float) -> float:
    """Return the share of Student's distribution below t."""
    if math.isinf(freedom):
        return _NORMAL.cdf(t)
    tail = _beta_share(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def t_quantile(share: float, freedom: float = math.inf) -> float:
    """Return the t below which a share of Student's distribution is."""
    if math.isinf(freedom):
        return _NORMAL.inv_cdf(share)
    low, high = -1e4, 1e4
    while high - low > 1e-9 * max(1.0, abs(low)):
        middle = (low + high) / 2
        low, high = (middle, high) if t_share(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function, by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(1 - x, b, a)
    front = math.exp(
        a * math.log(x) + b * math.log1p(-x) - math.log(a) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    )
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _nonzero(1 + term * d), _nonzero(1 + term / c)
            fraction *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return front * fraction


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
