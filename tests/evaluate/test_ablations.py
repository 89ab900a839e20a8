"""A part of the chain that is left out costs what it is there for, judged by texts alone."""

from typing import Any

import pytest

from tests.kale import kale


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of `kale evaluate texts` by measure and arm."""
    sets = [f"warehouse={tmp_path_factory.mktemp('texts')}/lake"]
    found = kale("evaluate", "texts", "ablations", "--rows", "100", "--json", sets=sets).json
    assert (found["images"], found["baseline"]) == (100, "all")
    return {(row["measure"], row["arm"]): row for row in found["rows"]}


@pytest.mark.parametrize(
    ("measure", "arm"),
    [("true facts", "no verification"), ("carried facts", "no verification"), ("true facts", "small student"),
     ("carried facts", "small student"), ("carried facts", "half the data"), ("agreement", "no cleaning")],
)  # fmt: skip
def test_a_part_that_is_left_out_is_missed(rows: dict[tuple[str, str], dict[str, Any]], measure: str, arm: str) -> None:
    assert rows[measure, arm]["gain high"] < 0


def test_less_is_worse_in_order(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    order = ("all", "half the data", "an eighth of the data")
    found = [rows["carried facts", arm]["mean"] for arm in order]
    assert found == sorted(found, reverse=True)


def test_facts_do_not_show_a_leaked_prompt(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Cleaning removes words, not facts: only the agreement with other arms sees it."""
    assert rows["unit facts", "no cleaning"]["gain"] == 0
    assert rows["unit facts", "no cleaning"]["words"] > rows["unit facts", "all"]["words"]


def test_data_without_truth_say_so(tmp_path: Any) -> None:
    answer = kale("evaluate", "texts", "scale", sets=[f"warehouse={tmp_path}/lake"])
    assert answer.code == 2
