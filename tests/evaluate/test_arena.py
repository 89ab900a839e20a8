"""Strengths, agreement and separation, on planted ones."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from random import Random

import numpy as np
import pytest

from kale_tasks.evaluate.agreement import auc, kappa, kappa_interval
from kale_tasks.evaluate.arena import Comparison, Strengths, fit

TRUE = {"good": 1.0, "middling": 0.0, "bad": -1.0}


def planted(
    rng: Random, strengths: dict[str, float], images: int, first: float = 0.0, long: float = 0.0, ties: float = 0.0
) -> Iterator[Comparison]:
    """Comparisons by a judge with known taste: for strength, for the first place, and for length."""
    for image in range(images):
        words = {name: rng.randint(20, 60) for name in strengths}
        for (one, strong), (other, weak) in permutations(strengths.items(), 2):
            taste = strong - weak + first + long * np.log(words[one] / words[other])
            won = float(rng.random() < 1 / (1 + np.exp(-taste)))
            score = 0.5 if rng.random() < ties else won
            yield Comparison(str(image), one, other, score, (words[one], words[other]))


def odds(found: Strengths, one: str, other: str) -> float:
    """The share of comparisons that one wins against another, order and length being equal."""
    return float(1 / (1 + np.exp(found.of[other].value - found.of[one].value)))


def test_planted_strengths_are_found() -> None:
    found = fit(list(planted(Random(1), TRUE, 300, first=0.5)))
    for name, strength in TRUE.items():
        low, high = found.of[name].interval(0.999)
        assert low < strength < high
    assert found.first_place.value == pytest.approx(0.5, abs=0.15)
    assert odds(found, "good", "bad") == pytest.approx(1 / (1 + np.exp(-2)), abs=0.04)


def test_ties_pull_strengths_together() -> None:
    without, with_ties = (fit(list(planted(Random(2), TRUE, 300, ties=share))) for share in (0.0, 0.5))
    assert 0.2 < with_ties.of["good"].value < 0.8 * without.of["good"].value


def test_a_taste_for_length_is_measured_and_taken_out() -> None:
    rng = Random(3)
    made = [
        Comparison(str(image), one, other, float(words[0] > words[1]) * 0.8 + 0.1, words)
        for image in range(300)
        for one, other in (("long", "short"), ("short", "long"))
        if (words := (rng.randint(40, 60), rng.randint(30, 50))[:: 1 if one == "long" else -1])
    ]
    plain, controlled = fit(made), fit(made, length=True)
    assert controlled.length is not None
    assert controlled.length.interval()[0] > 0
    assert odds(plain, "long", "short") > 0.7
    assert odds(controlled, "long", "short") < odds(plain, "long", "short") - 0.1


def test_intervals_of_strengths_cover_the_truth() -> None:
    covered = []
    for turn in range(60):
        low, high = fit(list(planted(Random(100 + turn), TRUE, 60))).of["good"].interval()
        covered.append(low < 1.0 < high)
    assert np.mean(covered) >= 0.87


def test_one_that_never_loses_has_a_finite_strength() -> None:
    made = [Comparison(str(n), "a", "b", 1.0, (10, 10)) for n in range(20)]
    assert 1 < fit(made).of["a"].value < 50


# Fleiss' own example, 1971: ten subjects, fourteen raters, five categories.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def spread(counts: Sequence[int]) -> list[int]:
    return [category for category, n in enumerate(counts) for _ in range(n)]


def test_kappa_is_that_of_the_published_example() -> None:
    assert kappa([spread(row) for row in FLEISS]) == pytest.approx(0.210, abs=5e-4)


def test_kappa_of_planted_readers() -> None:
    rng = Random(7)
    truth = [rng.random() < 0.3 for _ in range(300)]
    readers = [[verdict if rng.random() < 0.9 else not verdict for _ in range(2)] for verdict in truth]
    low, high = kappa_interval(readers)
    # Two readers who err once in ten agree 0.82; of 0.34 true verdicts chance gives 0.551.
    assert low < (0.82 - 0.5512) / (1 - 0.5512) < high
    assert kappa([[True, True], [False, False]]) == 1
    assert np.isnan(kappa([[True], [False]])), "nothing was judged twice"


def test_auc_counts_ties_half_and_covers_the_truth() -> None:
    assert auc([2.0, 1.0], [1.0, 0.0]).value == pytest.approx(0.875)
    rng = np.random.default_rng(9)
    covered = []
    for _ in range(400):
        found = auc(rng.normal(1, 1, 60), rng.normal(0, 1, 80))  # type: ignore[arg-type]
        low, high = found.interval()
        covered.append(low < 0.7602 < high)
    assert 0.915 < np.mean(covered) < 0.985
