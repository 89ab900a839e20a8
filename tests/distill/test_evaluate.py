"""A student is measured by the facts it carries and invents and by its description; the gate compares it."""

from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.evaluate import (
    CaptionMetrics,
    GeneratedCaption,
    caption_metrics,
    promotion_score,
    promotion_verdict,
)
from kale_tasks.lake.shards import Span
from kale_tasks.settings import load

DENSE = "A large red tower is at the left. The background is plain white."
CAPTION = "A large red tower named Ubuna is at the left. It was made in 1844. The background is plain white."
GATE = load(environ={"KALE_PROFILE": "laptop"}).settings.distill.gate


def measure(text, alt="Ubuna, 1844", caption=CAPTION):
    return caption_metrics(
        [GeneratedCaption(CaptionSample("0" * 32, alt, DENSE, caption, 0, (), Span("s", 0, 1)), text)]
    )


def test_the_teachers_own_caption_carries_all_facts_and_invents_none():
    found = measure(CAPTION)
    assert (found.facts_carried, found.facts_invented, found.repetition) == (1.0, 0.0, 0.0)
    assert 0.7 < found.description < 1


def test_the_dense_caption_describes_everything_and_carries_nothing():
    found = measure(DENSE)
    assert (found.facts_carried, found.facts_invented, found.description) == (0.0, 0.0, 1.0)


def test_one_of_two_facts_is_half():
    assert measure(CAPTION.replace("1844", "1845")).facts_carried == 0.5


def test_a_fact_of_no_source_is_invented():
    found = measure(CAPTION.replace("in 1844", "by Zorgax in 1844"))
    assert round(found.facts_invented, 2) == 0.33 and found.facts_carried == 1.0


def test_a_wrong_colour_lowers_the_description():
    assert measure(CAPTION.replace("red", "blue")).description < measure(CAPTION).description


def test_a_loop_is_repetition():
    assert measure("a red cup on a table " * 10).repetition > 0.8


def test_an_empty_caption_is_measured():
    found = measure("")
    assert (found.words, found.facts_carried, found.description) == (0, 0, 0)


def metrics(carried=1.0, invented=0.0, description=1.0):
    return CaptionMetrics(10, carried, invented, description, 10, 0)


def test_a_student_as_good_as_its_teacher_is_accepted():
    assert promotion_verdict(metrics(), metrics(), None, GATE).accepted


def test_a_refusal_names_the_figure_that_failed_and_its_limit():
    for student, words in {
        metrics(carried=0.85): "facts carried: 0.850 of its teacher's (at least 0.9)",
        metrics(invented=0.05): "facts invented: +5.0 points against its teacher (at most +2.0)",
        metrics(description=0.8): "description: 0.800 of its teacher's (at least 0.9)",
    }.items():
        verdict = promotion_verdict(student, metrics(), None, GATE)
        assert not verdict.accepted and words in verdict.text and verdict.text.count(";") == 0


def test_a_student_no_better_than_the_one_in_use_is_refused():
    assert not promotion_verdict(metrics(), metrics(), metrics(), GATE).accepted
    assert promotion_verdict(metrics(), metrics(), metrics(description=0.99), GATE).accepted


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_score_rises_with_facts_and_description_and_falls_with_invention(carried, invented, description):
    score = promotion_score(metrics(carried, invented, description))
    assert promotion_score(metrics(carried, invented, 1.0)) >= score
    assert promotion_score(metrics(1.0, invented, description)) >= score
    assert promotion_score(metrics(carried, 1.0, description)) <= score
