"""A power law is fitted to the losses of students that were trained on several numbers of captions."""

import numpy as np
import pytest

from kale_tasks.distill.scaling import fit_scaling

SIZES = (1250, 2500, 5000, 10000)


def planted(floor, scale, exponent, seed=0, captions=400, scatter=0.0):
    """Losses of captions of several lengths; a caption that is hard for one student is hard for the others.

    With scatter, the students of other seeds differ by this share in all their losses.
    """
    draw = np.random.default_rng(seed)
    characters = draw.integers(100, 400, captions).astype(float)
    hard = draw.normal(1, 0.1, captions)
    of_seeds = np.random.default_rng([seed, 1]).normal(1, scatter, len(SIZES))
    losses = [
        (floor + scale * size**-exponent) * of_seed * hard * draw.normal(1, 0.003, captions)
        for size, of_seed in zip(SIZES, of_seeds, strict=True)
    ]
    return np.array(losses) * characters, characters


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.5, 8, 0.5), (0.0, 3, 0.2), (0.3, 200, 1.0)])
def test_a_planted_law_is_found_and_continued(floor, scale, exponent):
    found = fit_scaling(SIZES, *planted(floor, scale, exponent))
    truth = floor + scale * (2 * SIZES[-1]) ** -exponent
    assert found.predicted == pytest.approx(truth, rel=0.03)
    assert found.low < found.predicted < found.high and found.losses == tuple(sorted(found.losses, reverse=True))
    assert [found.loss(size) for size in SIZES] == pytest.approx(found.losses, rel=0.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(40):
        found = fit_scaling(SIZES, *planted(0.5, 8, 0.5, seed, 200))
        hits += found.low <= 0.5 + 8 * (2 * SIZES[-1]) ** -0.5 <= found.high
    assert hits >= 30  # of 36


@pytest.mark.parametrize("scatter", [0.01, 0.05])
def test_the_interval_covers_the_truth_when_trainings_scatter_around_it(scatter):
    found = [fit_scaling(SIZES, *planted(0.5, 8, 0.5, seed, 200, scatter)) for seed in range(40)]
    truth = 0.5 + 8 * (2 * SIZES[-1]) ** -0.5
    assert sum(one.low <= truth <= one.high for one in found) >= 30  # of 36


def test_trainings_close_to_a_curve_tell_what_more_captions_give_and_scattered_ones_do_not():
    def tell(scale, scatter):
        return sum(fit_scaling(SIZES, *planted(0.5, scale, 0.5, seed, 200, scatter)).tells for seed in range(40))

    assert tell(8, 0) >= 36
    assert tell(8, 0.2) <= 8 and tell(0, 0.02) <= 4  # there is nothing to see


def test_captions_that_give_nothing_promise_nothing():
    found = fit_scaling(SIZES, *planted(1.0, 0, 1))
    assert found.predicted == pytest.approx(found.losses[-1], rel=0.005)


def test_fewer_held_out_captions_give_a_wider_interval():
    few, many = (fit_scaling(SIZES, *planted(0.5, 8, 0.5, 1, captions)) for captions in (20, 2000))
    assert few.high - few.low > 3 * (many.high - many.low)
