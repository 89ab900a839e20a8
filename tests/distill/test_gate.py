"""The promotion gate on real texts: damaged captions are refused, the same in other words is accepted.

The texts are not part of this repository; bench/gate.md has the figures of all of them.
"""

import pytest

from bench.gate import Trial, samples
from bench.rewrites import DAMAGED, HARMLESS
from bench.verification import REAL

# In every test run, beside all that are harmless; the others at night.
FIRST = ("shortened", "facts invented", "swapped between images", "wrong names", "alt-text alone", "wrong colours")
ROWS = 24  # of about 300: each kind takes some 30 ms of the text encoder for each


@pytest.fixture(scope="module")
def trial():
    """A trial on the half of the rows on which no limit was fixed."""
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is no part of this repository: see bench/verification.py")
    return Trial(samples(seen=False)[:ROWS])


@pytest.mark.parametrize(
    "kind", [kind if kind in FIRST else pytest.param(kind, marks=pytest.mark.nightly) for kind in DAMAGED]
)
def test_a_damaged_student_is_refused(trial, kind):
    assert not trial.student(kind)[0].accepted


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_student_that_says_the_same_in_other_words_is_accepted(trial, kind):
    verdict, _ = trial.student(kind)
    assert verdict.accepted, verdict.text
