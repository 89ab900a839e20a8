"""Power: the questions and seeds that show a difference, and the difference that given ones show. In shares."""

import math
from itertools import count
from statistics import NormalDist

import numpy as np

from kale_tasks.evaluate.intervals import t_quantile

ALPHA, POWER = 0.05, 0.8
_LEAST_SEEDS, _LEAST_PAIRS = 2, 3  # two differences have one degree of freedom: their interval says nothing
_GRID = 4001


def questions_needed(difference: float, discordant: float, power: float = POWER, alpha: float = ALPHA) -> int:
    """Return the questions that show a difference of two models that disagree on a share of them (McNemar)."""
    z = NormalDist().inv_cdf
    spread = math.sqrt(max(0.0, discordant - difference**2))
    return math.ceil(((z(1 - alpha / 2) * math.sqrt(discordant) + z(power) * spread) / difference) ** 2)


def smallest_difference(questions: int, discordant: float, power: float = POWER, alpha: float = ALPHA) -> float:
    """Return the smallest difference that a number of questions shows."""
    low, high = 1e-6, discordant
    while high - low > 1e-7:
        middle = (low + high) / 2
        enough = questions_needed(middle, discordant, power, alpha) <= questions
        low, high = (low, middle) if enough else (middle, high)
    return high


def seeds_needed(
    difference: float, deviation: float, correlation: float | None = None, power: float = POWER, alpha: float = ALPHA
) -> int:
    """Return the seeds of each arm that show a difference of means, given the deviation over seeds.

    With a correlation, both arms share their seeds, and their differences are tested.
    """
    pairs = correlation is not None
    spread = deviation * math.sqrt(2 * (1 - (correlation or 0.0)))
    for seeds in count(_LEAST_PAIRS if pairs else _LEAST_SEEDS):
        freedom = seeds - 1 if pairs else 2 * (seeds - 1)
        if t_power(difference / spread * math.sqrt(seeds), freedom, alpha) >= power:
            return seeds
    raise AssertionError("unreachable")


def t_power(shift: float, freedom: float, alpha: float = ALPHA) -> float:
    """Return the power of a two-sided t test, given the difference in standard errors."""
    bound = t_quantile(1 - alpha / 2, freedom)
    # The estimated error is the true one times the root of chi-squared / freedom: integrate over it.
    scale = np.linspace(1e-6, 1 + 8 / math.sqrt(freedom) + 2, _GRID)
    log_density = (freedom - 1) * np.log(scale) - freedom * scale**2 / 2
    weight = np.exp(log_density - log_density.max())
    below = np.vectorize(NormalDist().cdf)
    found = 1 - below(bound * scale - shift) + below(-bound * scale - shift)
    return float((found * weight).sum() / weight.sum())


def could_have_seen(error: float, freedom: float, power: float = POWER, alpha: float = ALPHA) -> float:
    """Return the difference that an experiment with this standard error shows with this power."""
    return error * (t_quantile(1 - alpha / 2, freedom) + t_quantile(power, freedom))
