"""`kale power` states questions and seeds."""

import pytest

from tests.kale import kale


@pytest.mark.nightly
def test_the_tables_are_printed() -> None:
    found = kale("power", "--json").json
    assert found["questions"][0] == {"difference": 0.23, "10 %": 148370, "15 %": 222556, "20 %": 296742, "30 %": 445114}
    assert found["seeds"][2] == {
        "deviation": 0.3, "+0.23": "28 (16)", "+0.5": "7 (6)", "+1": "3 (3)", "+2": "2 (3)", "+5": "2 (3)",
    }  # fmt: skip


def test_given_questions_have_a_smallest_difference() -> None:
    answer = kale("power", "--questions", "11772", "--discordant", "15", "--json")
    assert answer.json == [{"discordant %": 15.0, "points": 1.0}]


@pytest.mark.parametrize("words", [["--difference", "0"], ["--difference", "40"], ["--discordant", "-1"]])
def test_impossible_questions_are_refused(words: list[str]) -> None:
    answer = kale("power", *words)
    assert (answer.code, "points" in answer.complaint) == (2, True)
