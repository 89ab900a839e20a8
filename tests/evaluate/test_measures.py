"""Known groups rank where they must, in every measure that can tell them apart."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest

from kale_tasks.evaluate.agreement import auc
from kale_tasks.evaluate.answerable import ModelReader
from kale_tasks.evaluate.arena import fit
from kale_tasks.evaluate.intervals import mean, paired
from kale_tasks.evaluate.judges import FIRST, NEITHER, SECOND, MeasureJudge, PairJudge, arena_rows, compare, win_rate
from kale_tasks.evaluate.measures import Agreement, Item, equal_length, judge
from kale_tasks.evaluate.overlap import Bleu, Cider
from kale_tasks.world.measures import UnitFacts, answerability, unit_score
from tests.evaluate.known import Known, independent, known


@pytest.fixture(scope="module")
def some() -> Known:
    return known(seed=3, count=150)


@pytest.mark.parametrize("measure", [UnitFacts(), answerability()], ids=lambda one: one.name)
def test_known_groups_rank_where_they_must(some: Known, measure: UnitFacts) -> None:
    order = ("fused", "dense", "truncated", "shuffled")
    scores = {name: measure.scores(some.items, some.texts[name], []) for name in order}
    for better, worse in pairwise(order):
        low, _ = paired(scores[better], scores[worse]).interval(0.99)
        assert low > 0, f"{better} over {worse}"


def test_facts_that_nobody_said_cost_precision(some: Known) -> None:
    for item, right, wrong in zip(some.items, some.texts["fused"], some.texts["invented"], strict=True):
        assert unit_score(right, item.about)["invented"] == 0
        assert unit_score(wrong, item.about)["invented"] > 0
        assert unit_score(wrong, item.about)["precision"] < 1


def test_a_placebo_answers_what_the_dense_text_answers_within_two_points(some: Known) -> None:
    answers = {name: answerability().scores(some.items, some.texts[name], []) for name in ("invented", "dense")}
    low, high = paired(answers["invented"], answers["dense"]).interval(0.9)  # two one-sided tests at 5 %
    assert -0.02 < low <= high < 0.02, "facts of another image answer something"
    true = [
        unit_score(text, item.about)["precision"] for item, text in zip(some.items, some.texts["invented"], strict=True)
    ]
    assert mean(true).interval(0.99)[1] < 1, "facts of another image are true"


def test_the_table_has_every_arm_at_its_own_and_at_equal_length(some: Known) -> None:
    texts = {name: some.texts[name] for name in ("dense", "fused", "truncated")}
    rows = {row["arm"]: row for row in judge([UnitFacts()], some.items, texts, "dense")}
    assert rows["fused"]["gain low"] > 0 > rows["truncated"]["gain high"]
    assert rows["fused"]["words"] > rows["dense"]["words"] > rows["truncated"]["words"]
    assert rows["truncated"]["mean"] == pytest.approx(rows["truncated"]["at equal length"], abs=0.05)
    assert rows["dense"]["gain at equal length"] == 0
    cut = equal_length(texts)
    for one in zip(*cut.values(), strict=True):
        assert len({len(text.split()) for text in one}) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_independent_captioners_expose_inventions(seed: int) -> None:
    captions, planted = independent(seed, 120)
    measure, supports, flags = Agreement(), list[float](), list[bool]()
    for text, *others, wrong in zip(*captions, planted, strict=True):
        found = measure.of_sentences(text, others)
        assert len(found) == len(wrong)
        supports += found
        flags += wrong
    wrong, right = ([-s for s, planted in zip(supports, flags, strict=True) if planted is of] for of in (True, False))
    area = auc(wrong, right)
    assert area.interval()[0] > 0.85, area


def test_words_in_common_are_no_truth(some: Known) -> None:
    """A caption with a wrong number scores as high as one with right facts in other words: hence the warning."""
    item = [Item("0", reference="A red tower is at the left. It was made in 1872.")]
    false, reworded = "A red tower is at the left. It was made in 1927.", "To the left: an 1872 tower, all red."
    for measure in (Bleu(), Cider()):
        assert measure.warning
        assert measure.scores(item, [false], [])[0] > measure.scores(item, [reworded], [])[0]
        assert measure.scores(item, [item[0].reference], [])[0] >= measure.scores(item, [false], [])[0]


def test_bleu_of_a_text_against_itself_is_one() -> None:
    assert Bleu().scores([Item("0", reference="one two three four five")], ["one two three four five"], []) == [1.0]
    assert Bleu().scores([Item("0", reference="one two three four five")], ["six seven"], []) == [0.0]


class Lots(PairJudge):
    """A judge who draws lots, and likes the first place or the longer text."""

    def __init__(self, seed: int, first: float = 0.0, long: float = 0.0) -> None:
        self._rng, self._first, self._long = Random(seed), first, long

    def choose(self, shown: Sequence[tuple[Item, str, str]]) -> list[float]:
        return [self._one(first, second) for _, first, second in shown]

    def _one(self, first: str, second: str) -> float:
        if self._rng.random() < 0.1:
            return NEITHER
        longer = (len(first) > len(second)) - (len(first) < len(second))
        return FIRST if self._rng.random() < 0.5 + self._first + self._long * longer else SECOND


@pytest.mark.parametrize("first", [0.0, 0.3])
def test_identical_captions_win_half_whatever_the_judge_thinks_of_first_places(first: float) -> None:
    items = [Item(str(n)) for n in range(2500)]
    same = ["A red tower is at the left."] * len(items)
    comparisons = compare(Lots(4, first), items, {"a": same, "b": same})
    assert win_rate(comparisons, "a", "b").value == pytest.approx(0.5, abs=0.03)
    assert (fit(comparisons).first_place.interval()[0] > 0) == (first > 0)


def test_a_judge_who_loves_length_is_detected_and_corrected() -> None:
    rng = Random(5)
    items = [Item(str(n)) for n in range(400)]
    texts = {
        name: [" ".join(["word"] * (rng.randint(20, 40) + more)) for _ in items] for name, more in (("a", 0), ("b", 6))
    }
    rows, taste = arena_rows(compare(Lots(6, long=0.4), items, texts))
    strengths = {row["arm"]: row for row in rows}
    assert taste["ten per cent more words"]["log odds"] > 0
    assert taste["ten per cent more words"]["p"] < 0.001
    assert strengths["b"]["low"] > 0, "by its length alone"
    assert strengths["b"]["at equal length strength"] < strengths["b"]["strength"] / 2
    _, fair = arena_rows(compare(Lots(7), items, texts))
    assert fair["ten per cent more words"]["p"] > 0.01


@pytest.mark.nightly
def test_the_arena_ranks_known_groups(some: Known) -> None:
    texts = {name: some.texts[name] for name in ("shuffled", "truncated", "dense", "fused")}
    rows, _ = arena_rows(compare(MeasureJudge(UnitFacts()), some.items, texts))
    assert [row["arm"] for row in sorted(rows, key=lambda row: -row["strength"])] == [*texts][::-1]


def test_answers_of_a_model_are_read_by_their_first_word() -> None:
    from kale_tasks.evaluate.judges import _verdict

    said = {
        "A": FIRST,
        "B.": SECOND,
        "**B** is better": SECOND,
        "a": FIRST,
        "TIE": NEITHER,
        "Both": NEITHER,
        "": NEITHER,
    }
    assert {text: _verdict(text) for text in said} == said
    assert mean([_verdict("A caption is fine")]).value == FIRST  # a known weakness: the word is read as the letter


def test_a_model_reads_captions_through_an_engine() -> None:
    from tests.evaluate.engine import ScriptedEngine

    engine = ScriptedEngine(lambda request: "1872" if "1872" in str(request.messages) else "unknown")
    asked = [("It was made in 1872.", "the year?"), ("A red tower.", "the year?")]
    assert ModelReader(engine).answers(asked) == ["1872", "unknown"]
