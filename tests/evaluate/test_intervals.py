"""Intervals cover what they promise, on data whose truth is known."""

import math

import numpy as np
import pytest

from kale_tasks.evaluate.intervals import Estimate, Spread, bootstrap, crossed, mean, paired, t_quantile, t_share

KALE = [59.92, 70.10, 72.68, 65.64, 58.59, 23.28, 29.28, 43.80, 52.42, 43.91]
DENSE = [59.74, 69.42, 70.30, 65.35, 61.60, 23.64, 29.53, 43.80, 52.03, 41.90]
# Printed tables of Student's distribution.
QUANTILES = [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.95, 5, 2.015), (0.975, 9, 2.262), (0.995, 30, 2.750)]


@pytest.mark.parametrize(("share", "freedom", "t"), QUANTILES)
def test_student_is_that_of_the_printed_tables(share: float, freedom: int, t: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(t, abs=5e-4)
    assert t_share(-t, freedom) == pytest.approx(1 - share, abs=2e-5)


def test_with_many_degrees_of_freedom_student_is_normal() -> None:
    assert t_share(1.5, 1e7) == pytest.approx(t_share(1.5, math.inf), abs=1e-7)
    assert t_quantile(0.975) == pytest.approx(1.959964, abs=1e-6)


def test_the_gain_of_fusion_in_the_paper_is_not_significant() -> None:
    gain = paired(KALE, DENSE)
    assert (gain.value, gain.p_differs()) == (pytest.approx(0.231), pytest.approx(0.63, abs=0.005))


def test_an_estimate_tests_in_the_direction_it_is_asked() -> None:
    gain = Estimate(2.0, 1.0)
    assert gain.p_above(0) == pytest.approx(0.02275, abs=1e-5)
    assert gain.p_above(2) == pytest.approx(0.5)
    assert gain.p_differs() == pytest.approx(0.0455, abs=1e-4)
    assert (Estimate(1, 0).p_above(0.5), Estimate(0, 0).p_above(0.5)) == (0.0, 1.0)


def test_clusters_of_equal_values_count_once() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=60)
    repeated, images = np.repeat(values, 5), np.repeat(np.arange(60), 5).tolist()
    once, naive, clustered = mean(values), mean(repeated), mean(repeated, images)
    assert clustered.error == pytest.approx(once.error, rel=1e-9)
    assert naive.error < 0.5 * once.error


def test_one_cluster_shows_nothing() -> None:
    assert mean([1.0, 0.0, 1.0], ["a", "a", "a"]).error == math.inf


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_intervals_over_seeds_and_questions_cover_the_truth(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    covered = []
    for _ in range(1000):
        by_seed, by_image = rng.normal(0, 0.03, (seeds, 1)), np.repeat(rng.normal(0, 0.3, 30), 2)
        table = 0.05 + by_seed + by_image + rng.normal(0, 0.5, (seeds, 60))
        low, high = crossed(table, np.repeat(np.arange(30), 2).tolist()).interval()
        covered.append(low <= 0.05 <= high)
    assert 0.935 < np.mean(covered) <= 0.995  # the sum of two variances errs on the safe side


def test_a_spread_measured_on_all_arms_narrows_intervals_and_keeps_their_coverage() -> None:
    rng = np.random.default_rng(21)
    covered, widths = [], []
    for _ in range(600):
        by_question = rng.normal(0, 0.3, 60)
        arms = 0.4 + rng.normal(0, 0.05, (6, 3, 1)) + by_question + rng.normal(0, 0.2, (6, 3, 60))
        pooled = float(arms.mean(2).var(1, ddof=1).mean())
        plain, shared = crossed(arms[1] - arms[0]), crossed(arms[1] - arms[0], None, Spread(2 * pooled / 3, 12))
        low, high = shared.interval()
        covered.append(low <= 0 <= high)
        widths.append((high - low) / np.diff(plain.interval())[0])
    assert 0.93 < np.mean(covered) < 0.99
    assert np.median(widths) < 0.75


def test_seeds_that_disagree_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    agreeing = np.tile(rng.normal(0.1, 0.3, 200), (3, 1))
    disagreeing = agreeing + np.array([[-0.1], [0.0], [0.1]])
    same, other = crossed(agreeing), crossed(disagreeing)
    assert (same.freedom, other.value) == (pytest.approx(199), pytest.approx(same.value))
    assert other.error > 2 * same.error
    assert other.freedom < 4


def test_the_bootstrap_covers_the_truth_also_of_skewed_clusters() -> None:
    rng = np.random.default_rng(11)
    images = np.repeat(np.arange(80), 3).tolist()
    covered = []
    for turn in range(400):
        values = np.repeat(rng.exponential(1.0, 80), 3)
        low, high = bootstrap(values, images, rounds=400, seed=turn)
        covered.append(low <= 1.0 <= high)
    assert 0.90 < np.mean(covered) < 0.98
    assert bootstrap([1.0, 2.0, 4.0], seed=4) == bootstrap([1.0, 2.0, 4.0], seed=4)
