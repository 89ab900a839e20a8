"""Decisions keep their error rates, and power is what simulations find."""

import numpy as np
import pytest

from kale_tasks.evaluate.intervals import Estimate, crossed, equivalent, holm, mean, not_inferior
from kale_tasks.evaluate.power import could_have_seen, questions_needed, seeds_needed, smallest_difference, t_power

SHARES = (0.10, 0.15, 0.20, 0.30)
# Published arithmetic: questions by difference and by share of questions that two models answer differently.
QUESTIONS = {
    0.0023: (148_000, 223_000, 297_000, 445_000),
    0.005: (31_000, 47_000, 63_000, 94_000),
    0.01: (7_800, 11_800, 15_700, 23_500),
    0.02: (1_960, 2_940, 3_920, 5_880),
    0.05: (310, 470, 626, 940),
}
# Seeds by deviation, for differences of 0.23, 0.5, 1 and 2; the second if both arms share seeds, correlation 0.5.
SEEDS = {
    0.1: ((5, 4), (3, 3), (2, 3), (2, 3)),
    0.2: ((13, 9), (4, 4), (3, 3), (2, 3)),
    0.3: ((28, 16), (7, 6), (3, 3), (2, 3)),
    0.5: ((76, 40), (17, 10), (6, 5), (3, 3)),
    1.0: ((298, 151), (64, 34), (17, 10), (6, 5)),
}


def test_holm_is_that_of_its_definition() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": 0.02}


def test_holm_errs_in_one_of_twenty_families() -> None:
    rng = np.random.default_rng(2)
    wrong = [min(holm(dict(enumerate(rng.uniform(size=6)))).values()) < 0.05 for _ in range(4000)]  # type: ignore[arg-type]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.012)


def test_a_loss_at_the_margin_is_called_harmless_in_one_of_twenty() -> None:
    rng = np.random.default_rng(4)
    passed = [not_inferior(mean(rng.normal(-0.05, 0.4, 100)), 0.05) < 0.05 for _ in range(2000)]
    assert np.mean(passed) == pytest.approx(0.05, abs=0.016)


def test_equivalence_needs_both_sides() -> None:
    assert equivalent(Estimate(0.0, 0.01), 0.05) < 0.001
    assert equivalent(Estimate(0.04, 0.01), 0.05) == pytest.approx(equivalent(Estimate(-0.04, 0.01), 0.05))
    assert equivalent(Estimate(0.0, 0.05), 0.05) > 0.05, "no difference seen is not equivalence shown"


@pytest.mark.parametrize("difference", QUESTIONS)
def test_the_questions_needed_are_those_of_the_table(difference: float) -> None:
    found = [questions_needed(difference, share) for share in SHARES]
    assert found == [pytest.approx(n, rel=0.016) for n in QUESTIONS[difference]]  # which are rounded
    assert smallest_difference(found[1], SHARES[1]) == pytest.approx(difference, rel=0.01)


@pytest.mark.parametrize("deviation", SEEDS)
def test_the_seeds_needed_are_those_of_the_table(deviation: float) -> None:
    found = [(seeds_needed(d, deviation), seeds_needed(d, deviation, 0.5)) for d in (0.23, 0.5, 1.0, 2.0)]
    assert found == list(SEEDS[deviation])


def test_questions_needed_show_the_difference_four_times_of_five() -> None:
    rng = np.random.default_rng(6)
    n = questions_needed(0.05, 0.2)
    seen = [mean(rng.choice([1, -1, 0], n, p=[0.125, 0.075, 0.8])).p_differs() < 0.05 for _ in range(1500)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.035)


def test_power_over_seeds_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(8)
    seen = [mean(rng.normal(1.5, 1.0, 5)).p_differs() < 0.05 for _ in range(3000)]
    assert np.mean(seen) == pytest.approx(t_power(1.5 * 5**0.5, 4), abs=0.03)


def test_what_could_have_been_seen_is_seen_four_times_of_five() -> None:
    rng = np.random.default_rng(10)
    found = [crossed(rng.normal(0.0, 0.4, (3, 300))) for _ in range(100)]
    reach = np.mean([could_have_seen(one.error, one.freedom) for one in found])
    seen = [crossed(rng.normal(reach, 0.4, (3, 300))).p_differs() < 0.05 for _ in range(400)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.12)
