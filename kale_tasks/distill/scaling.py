"""The power law of a learning curve: what loss more captions can be expected to give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
_EXPONENTS = np.geomspace(0.02, 2, 100)
_ROUNDS = 500
_PARAMETERS = 3
_LEVEL = 0.9


@dataclass(frozen=True)
class Scaling:
    """A fitted curve: loss = floor + scale * captions ** -exponent, in bits per character."""

    captions: tuple[int, ...]
    losses: tuple[float, ...]
    floor: float
    scale: float
    exponent: float
    predicted: float  # for twice the largest number of captions
    low: float
    high: float

    def loss(self, captions: float) -> float:
        """The loss that the curve gives for a number of captions."""
        return float(self.floor + self.scale * captions**-self.exponent)

    @property
    def tells(self) -> bool:
        """Whether the losses lie close enough to the curve to say that more captions would lower the loss."""
        return self.high < self.losses[-1]


def fit_scaling(captions: Sequence[int], bits: _Floats, characters: _Floats) -> Scaling:
    """Fit the curve to the losses of students that were trained on these numbers of captions.

    `bits` has a row for each of them and a column for each held-out caption, `characters` the lengths of these. The
    interval (90 %) is that of other held-out captions (bootstrap) and of other trainings, which scatter around the
    curve as these do: how much is little known from few of them, so that they must lie close to it to say anything.
    """
    sizes, count = np.array(captions, np.float64), len(characters)
    shares, losses = sizes / sizes.max(), bits.sum(1) / characters.sum()
    (floor,), (scale,), (exponent,) = _fitted(shares, losses[None])
    missed = losses - floor - scale * shares**-exponent
    draw = np.random.default_rng(0)
    counts = draw.multinomial(count, np.full(count, 1 / count), _ROUNDS).astype(np.float64)
    scatter = np.sqrt((missed @ missed) / draw.chisquare(len(sizes) - _PARAMETERS, _ROUNDS))
    noise = draw.normal(0, scatter[:, None], (_ROUNDS, len(sizes) + 1))  # of these trainings, and of the next one
    drawn = (counts @ bits.T) / (counts @ characters)[:, None] + noise[:, :-1]
    low, high = np.quantile(_next(*_fitted(shares, drawn)) + noise[:, -1], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Scaling(
        tuple(captions), tuple(round(float(one), 4) for one in losses), float(floor),
        float(scale * sizes.max() ** exponent), float(exponent), float(_next(floor, scale, exponent)),
        max(0.0, float(low)), float(high),
    )  # fmt: skip


def _next(floor: Any, scale: Any, exponent: Any) -> Any:
    """The loss that a curve gives for twice the largest number of captions."""
    return floor + scale * 2.0**-exponent


def _fitted(sizes: _Floats, losses: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Return floor, scale and exponent, none below 0, with the least squares for each row of losses."""
    tried = [_line(sizes**-exponent, losses) for exponent in _EXPONENTS]
    errors = np.array([error for _, _, error in tried])
    best, rows = errors.argmin(0), np.arange(len(losses))
    floors, scales = (np.array([one[part] for one in tried])[best, rows] for part in (0, 1))
    return floors, scales, _EXPONENTS[best]


def _line(x: _Floats, losses: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Return intercept and slope of the best line through each row, none below 0, and its squared error."""
    middle = losses.mean(1)
    slope = np.maximum(0, (losses - middle[:, None]) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum())
    slope = np.where(middle < slope * x.mean(), losses @ x / (x @ x), slope)
    start = np.maximum(0, middle - slope * x.mean())
    return start, slope, ((losses - start[:, None] - slope[:, None] * x) ** 2).sum(1)
