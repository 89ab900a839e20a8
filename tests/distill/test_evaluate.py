"""A student is measured by the facts it carries and invents, and by how alike its captions are to its teacher's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.gate import promotion_score, promotion_verdict
from kale_tasks.lake.shards import Span
from kale_tasks.likeness.metrics import Quotient, caption_metrics, interval, measure, measure_teacher, states
from kale_tasks.likeness.wording import Wording
from kale_tasks.settings import load

GATE = load(environ={"KALE_PROFILE": "laptop"}).settings.distill.gate
TEACHER = (
    "A large red tower named Ubuna is at the left. It was made in 1844. The background is plain white.",
    "Small green cups by Marduk are on a table. There are 37 of them. The background is dark.",
    "A striped yellow kite flies over Lake Tamsin. It is 12 metres wide. The background is blue sky.",
)
ALT = ("Ubuna, 1844", "37 cups by Marduk", "kite at Lake Tamsin, 12 m")


@pytest.fixture(scope="module")
def wording():
    return Wording()


def sample(number):
    """A caption whose facts are all from its alt-text."""
    dense = TEACHER[number].split(".")[2].strip() + "."
    return CaptionSample(str(number) * 32, ALT[number], dense, TEACHER[number], 0, (), Span("s", 0, 1))


def measured(wording, *texts, again=()):
    others = {sample(number).uid: text for number, text in enumerate(again)}
    return measure(texts, [sample(number) for number in range(len(texts))], wording, others)


def metrics(wording, *texts, again=()):
    return caption_metrics(measured(wording, *texts, again=again))


def with_first(text):
    return (text, *TEACHER[1:])


def test_the_teachers_own_captions_say_everything(wording):
    found = metrics(wording, *TEACHER)
    assert (found.facts_carried, found.facts_invented, found.description, found.cut_off) == (1, 0, 1, 0)


def test_a_caption_of_another_image_says_nothing(wording):
    found = metrics(wording, *TEACHER[1:], TEACHER[0])
    assert (found.facts_carried, found.facts_invented) == (0, 1) and abs(found.description) < 1e-6


@pytest.mark.parametrize(
    ("text", "fact", "stated"),
    [
        ("UBUNA's tower", "Ubuna", True),
        ("a Zoe Muller-designed home", "Zoë Müller", True),
        ("the #ubunatower", "Ubuna", False),
        ("Romeo waits", "Rome", False),
        ("a tower in Ubunandia", "Ubuna", False),
        ("twenty-five dogs", "25", True),
        ("1,200 metres", "1200", True),
        ("in 18440", "1844", False),
        ("Snyder and Todd", "Todd Snyder", False),
        ("東京タワーの夜", "東京タワー", True),
        ("", "Ubuna", False),
    ],
)
def test_a_fact_is_stated_by_whole_words_and_numbers_in_any_notation(text, fact, stated):
    assert states(text, fact) == stated


def test_a_fact_of_no_source_is_invented(wording):
    text = TEACHER[0].replace("in 1844", "by Zorgax in 1844")
    found = metrics(wording, *with_first(text))
    assert round(found.facts_invented, 2) == 0.14 and found.facts_carried == 1


def test_what_is_left_out_added_or_wrong_lowers_the_description(wording):
    changed = {
        "left out": "A large red tower named Ubuna is at the left.",
        "added": f"{TEACHER[0]} Many people are waiting for a train, and some of them read newspapers.",
        "wrong colour": TEACHER[0].replace("red", "blue"),
        "wrong place": TEACHER[0].replace("at the left", "at the right"),
    }
    found = {name: metrics(wording, *with_first(text)).description for name, text in changed.items()}
    assert all(value < 0.999 for value in found.values()), found


def test_wrong_colours_count_beside_those_of_the_teacher_at_another_seed(wording):
    blue = with_first(TEACHER[0].replace("red", "blue"))
    assert metrics(wording, *TEACHER).attributes_wrong == 0
    assert round(metrics(wording, *blue).attributes_wrong, 2) == 0.17  # of six colours and sides
    samples = [sample(number) for number in range(3)]
    found = [
        caption_metrics(measure_teacher(samples, wording, again)).attributes_wrong
        for again in ({}, {samples[0].uid: TEACHER[0]}, {samples[0].uid: blue[0]})
    ]
    assert [round(one, 2) for one in found] == [0, 0, 0.33]


def test_another_order_of_sentences_costs_less_than_leaving_one_out(wording):
    first, second, third = (f"{sentence.strip()}." for sentence in TEACHER[0].split(".")[:3])
    other, less = (metrics(wording, *with_first(text)).description for text in (f"{third} {first} {second}", first))
    assert less < other - 0.05


def test_texts_as_close_as_the_teacher_at_another_seed_say_the_same(wording):
    again = [text.replace("The background is", "Behind it, all is") for text in TEACHER]
    assert metrics(wording, *again, again=again).description == 1
    assert metrics(wording, *again).description < 1
    assert metrics(wording, *again, again=again[:2]).description == pytest.approx(1, abs=0.02)  # of two of them


def test_loops_and_captions_that_are_cut_off_are_counted(wording):
    found = metrics(wording, *with_first("a red cup on a table " * 10))
    assert found.repetition > 0.5 and round(found.cut_off, 2) == 0.33


def test_an_empty_caption_is_measured(wording):
    found = metrics(wording, "", "", "")
    assert (found.words, found.facts_carried, found.cut_off) == (0, 0, 1) and found.description < 0


def test_captions_that_are_all_equal_show_nothing(wording):
    one = [sample(0)] * 4
    found = caption_metrics(measure([TEACHER[0]] * 4, one, wording, {}))
    assert found.description == 0


def quotient(share, rows=400):
    return Quotient(np.repeat([1.0, 0.0], [round(share * rows), rows - round(share * rows)]), np.ones(rows))


def student(rows=400, **shares):
    none = dict.fromkeys(("attributes_wrong", "facts_invented", "repetition", "cut_off"), 0)
    figures = {"facts_carried": 1, "description": 1, "words": 1, **none}
    return {name: quotient(share, rows) for name, share in {**figures, **shares}.items()}


def test_a_student_as_good_as_its_teacher_is_accepted():
    verdict = promotion_verdict(student(), student(), None, GATE)
    assert verdict.accepted and "facts carried: 1.000 of its teacher's, 1.000 to 1.000" in verdict.text


@pytest.mark.parametrize(
    ("figure", "share", "words"),
    [
        ("facts_carried", 0.85, "facts carried: 0.850 of its teacher's, 0.8"),
        ("facts_invented", 0.05, "facts invented: +5.0 points against its teacher, +3."),
        ("attributes_wrong", 0.15, "attributes wrong: +15.0 points against its teacher, +12."),
        ("description", 0.8, "description: 0.800 of its teacher's at another seed, 0.7"),
        ("repetition", 0.05, "repetition: +5.0 points"),
        ("cut_off", 0.05, "cut off: +5.0 points"),
    ],
)
def test_a_refusal_names_the_figure_that_failed_with_its_interval(figure, share, words):
    verdict = promotion_verdict(student(**{figure: share}), student(), None, GATE)
    assert not verdict.accepted and words in verdict.text and verdict.text.count(";") == 0


def test_few_captions_do_not_let_a_student_pass_by_chance():
    assert promotion_verdict(student(2000, facts_carried=0.93), student(2000), None, GATE).accepted
    assert not promotion_verdict(student(30, facts_carried=0.93), student(30), None, GATE).accepted


def test_what_a_teacher_invents_itself_is_not_held_against_its_student():
    assert promotion_verdict(student(facts_invented=0.1), student(facts_invented=0.1), None, GATE).accepted


def test_a_student_no_better_than_the_one_in_use_is_refused():
    assert not promotion_verdict(student(), student(), student(), GATE).accepted
    assert promotion_verdict(student(), student(), student(description=0.99), GATE).accepted


def test_intervals_cover_the_truth_as_often_as_they_say():
    draw, truth, hits = np.random.default_rng(3), 0.3, 0
    for _ in range(100):
        facts = draw.poisson(3, 100)
        low, high = interval(Quotient(draw.binomial(facts, truth).astype(float), facts.astype(float)))
        hits += low <= truth <= high
    assert 82 <= hits <= 97  # of 90


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_score_rises_with_facts_and_description_and_falls_with_invention(carried, invented, description):
    def score(*shares):
        return promotion_score(
            student(**dict(zip(("facts_carried", "facts_invented", "description"), shares, strict=True)))
        )

    known = score(carried, invented, description)
    assert score(carried, invented, 1.0) >= known and score(1.0, invented, description) >= known
    assert score(carried, 1.0, description) <= known
