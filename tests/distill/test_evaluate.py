"""A student is judged by what it carries, invents and describes; the gate says by how much it fails."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.distill.curve import loss_curve
from kale_tasks.distill.dataset import Taught
from kale_tasks.distill.evaluate import Answer, Figures, figures
from kale_tasks.distill.promotion import score, verdict
from kale_tasks.lake.shards import Span
from kale_tasks.settings import load

DENSE = "A large red tower is at the left. The background is plain white."
CAPTION = "A large red tower named Ubuna is at the left. It was made in 1844. The background is plain white."
GATE = load(environ={"KALE_PROFILE": "laptop"}).settings.distill.gate


def answer(text, alt="Ubuna, 1844", caption=CAPTION):
    return Answer(Taught("0" * 32, alt, DENSE, caption, 0, (), Span("s", 0, 1)), text)


def test_the_teachers_own_words_are_perfect_but_for_what_it_left_out():
    found = figures([answer(CAPTION)])
    assert (found.facts_carried, found.facts_invented, found.repetition) == (1.0, 0.0, 0.0)
    assert 0.7 < found.description < 1


def test_the_dense_caption_describes_all_and_carries_nothing():
    found = figures([answer(DENSE)])
    assert (found.facts_carried, found.facts_invented, found.description) == (0.0, 0.0, 1.0)


def test_half_of_the_facts_is_half():
    assert figures([answer(CAPTION.replace("1844", "1845"))]).facts_carried == 0.5


def test_a_fact_of_no_source_is_invented():
    found = figures([answer(CAPTION.replace("in 1844", "by Zorgax in 1844"))])
    assert round(found.facts_invented, 2) == 0.33 and found.facts_carried == 1.0


def test_a_wrong_colour_costs_description():
    wrong = figures([answer(CAPTION.replace("red", "blue"))])
    assert wrong.description < figures([answer(CAPTION)]).description


def test_a_loop_is_repetition():
    assert figures([answer("a red cup on a table " * 10)]).repetition > 0.8


def test_an_empty_answer_is_no_crash():
    found = figures([answer("")])
    assert (found.words, found.facts_carried, found.description) == (0, 0, 0)


def made(carried=1.0, invented=0.0, description=1.0):
    return Figures(10, carried, invented, description, 10, 0)


def test_a_student_like_its_teacher_passes():
    assert verdict(made(), made(), None, GATE).accepted


def test_a_student_too_far_off_is_refused_and_told_by_how_much():
    for student, words in {
        made(carried=0.85): "facts carried 0.850 of its teacher's, at least 0.9",
        made(invented=0.05): "facts invented +5.0 points to its teacher's, at most +2.0",
        made(description=0.8): "description 0.800 of its teacher's, at least 0.9",
    }.items():
        told = verdict(student, made(), None, GATE)
        assert not told.accepted and words in told.text and told.text.count(";") == 0


def test_a_student_no_better_than_the_one_in_use_is_refused():
    assert not verdict(made(), made(), made(), GATE).accepted
    assert verdict(made(), made(), made(description=0.99), GATE).accepted


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_of_two_students_at_most_one_is_better(carried, invented, description):
    one, other = made(carried, invented, description), made(0.9, 0.01, 0.9)
    assert not (score(one) > score(other) and score(other) > score(one))
    assert score(made(carried, invented, 1.0)) >= score(one) >= score(made(carried, 1.0, description))


@given(st.lists(st.floats(1e-4, 50), min_size=1, max_size=50))
def test_every_curve_is_a_picture(losses):
    tree = ElementTree.fromstring(loss_curve(list(enumerate(losses, 1))))
    line = tree.find("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    assert len(points) == len(losses)
    assert all(0 <= x <= 640 and 0 <= y <= 320 for x, y in points)
