"""The whole design on the sample world, from one command."""

from pathlib import Path

import pytest

from tests.kale import kale


@pytest.mark.nightly
@pytest.mark.timeout(3 * 3600)
def test_nine_arms_with_three_seeds_take_less_than_ninety_minutes_of_a_core(tmp_path: Path) -> None:
    answer = kale("evaluate", "downstream", "sample", "--json", sets=[f"warehouse={tmp_path}/lake"])
    assert answer.code == 0, answer.err
    found = answer.json
    assert (found["runs"], found["planned"], len(found["arms"])) == (27, 27, 9)
    assert found["cpu hours"] < 1.5
    assert found["seed deviation"] > 0
    assert all(row["seen"] > 50 for row in found["arms"] if row["arm"] != "alt"), "captions have taught nothing"
    named = {row["arm"]: row for row in found["outcomes"]["named in captions"]}
    assert named["fused"]["low"] > 0, "captions with names teach no names"
    assert all(row["low"] <= row["difference"] <= row["high"] for rows in found["outcomes"].values() for row in rows)
