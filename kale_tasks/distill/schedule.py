"""The phases of a training and their learning rates."""

import math
from dataclasses import dataclass

from kale_tasks.settings.distill import Train


@dataclass(frozen=True)
class Phase:
    """The optimiser steps from `start` to `stop` (exclusive), in which the same weights are trained."""

    start: int
    stop: int
    rate: float  # the highest learning rate
    connector_only: bool

    def rate_at(self, step: int, warm_up: float) -> float:
        """Return the learning rate of a step. `warm_up` is the share of the phase in which the rate rises."""
        steps = self.stop - self.start
        return self.rate * warm_up_cosine(step - self.start, steps, warm_up * steps)


def phases(train: Train) -> list[Phase]:
    """Return the phases that have any steps: first the connector alone, then the whole model."""
    turn = min(train.connector_steps, train.steps)
    both = [Phase(0, turn, train.connector_rate, True), Phase(turn, train.steps, train.rate, False)]
    return [phase for phase in both if phase.stop > phase.start]


def warm_up_cosine(step: int, steps: int, warm_up_steps: float) -> float:
    """Return the learning rate of a step as a share of the highest: a linear rise, then half a cosine down to 0.01."""
    if step < warm_up_steps:
        return (step + 1) / math.ceil(warm_up_steps)
    done = (step - warm_up_steps) / max(1e-9, steps - warm_up_steps)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2
