"""Bounds on a key come from earlier keys with the same recipe and settings, and are shown with what they come from."""

import random
from pathlib import Path
from typing import Any, cast

import pytest

from kale_tasks.contract.step import Step
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_run
from kale_tasks.quality.drift import learned
from kale_tasks.quality.outcome import Outcome
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.quality.defects import Spoil, each, failing
from tests.quality.world import DENSE, World, commit, commit_all, given, open_world

FEW_ROWS = {"quality.drift.least_rows": 50}


def one(result: CheckResult, name: str) -> Outcome:
    return next(check for check in result.checks if check.name == name)


def with_settings(lake: Lake, key: str, recipe: str, spoil: Spoil = list) -> CheckResult:
    """Commit pairs that were made with other settings, and check them."""
    made = given(lake, World(key), "ingest", spoil)
    made.config = lambda settings: {"recipe": recipe, "list_contents": key}  # type: ignore[method-assign]
    execute(Run(cast("Step", made), lake, lake.settings, key))
    return check_run(lake, lake.settings, "ingest", key)


def test_a_skipped_check_says_how_many_keys_it_waits_for(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **FEW_ROWS)
    for day in (1, 2, 3):
        commit(lake, World(f"2026-11-0{day}"), "ingest")
        result = check_run(lake, lake.settings, "ingest", f"2026-11-0{day}")
    skipped = [check for check in result.checks if check.status == "skipped"]
    assert {check.detail for check in skipped} >= {"2 of 3 earlier keys with this recipe and these settings"}
    passed = len(result.checks) - len(skipped)
    assert f"{passed} passed, {len(skipped)} skipped (2 of 3 earlier keys with this recipe" in result.lines[0]


def test_a_small_key_says_that_it_is_too_small(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k", pairs=40), "ingest")
    result = check_run(lake, lake.settings, "ingest", "k")
    assert "a key of 40 rows is not compared, 200 are needed" in result.lines[0]


@pytest.mark.nightly
def test_other_lengths_are_said_in_words(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **FEW_ROWS)
    for day in (1, 2, 3, 4):
        spoil = each(text=lambda row: f"{row['text']} {row['text']}") if day == 4 else list
        commit_all(lake, World(f"2026-11-0{day}"), "images")
        commit(lake, World(f"2026-11-0{day}"), DENSE, spoil)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("kale_tasks.quality.verdict.CheckResult.failed", [])
            result = check_run(lake, lake.settings, DENSE, f"2026-11-0{day}")
    psi = one(result, "length_psi")
    assert (
        psi.status == "failed" and list(psi.history) == ["2026-11-01", "2026-11-02", "2026-11-03"][: len(psi.history)]
    )
    words = [float(text) for text in psi.detail.split() if text[0].isdigit()]
    assert words[0] == pytest.approx(2 * words[1], rel=0.1) and "words a text" in psi.detail


def test_a_share_is_compared_with_bounds_from_earlier_keys_which_are_shown(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **FEW_ROWS)
    for day in (1, 2, 3, 4):
        commit(lake, World(f"2026-11-0{day}"), "ingest")
        commit(lake, World(f"2026-11-0{day}"), "images", failing(0.4, "http_404") if day == 4 else list)
        result = check_run(lake, lake.settings, "images", f"2026-11-0{day}")
    check = one(result, "yield_share_shift")
    assert check.status == "failed" and check.severity == "warning"
    assert list(check.history) == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert check.seen == result.figures["yield_share"] and check.seen < cast("float", check.low)
    assert all(cast("float", check.low) < share < cast("float", check.high) for share in check.history.values())


def test_a_change_of_recipe_or_settings_starts_a_new_baseline(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **FEW_ROWS)
    for day in (1, 2, 3, 4):
        old = with_settings(lake, f"2026-11-0{day}", "old")
    shout = each(text=lambda row: " ".join([row["text"]] * 3))
    new = [with_settings(lake, f"2026-11-0{day}", "new", shout) for day in (5, 6, 7, 8)]
    back = with_settings(lake, "2026-11-09", "old")
    assert one(old, "length_psi").status == one(back, "length_psi").status == "passed"
    assert [one(result, "length_psi").status for result in new] == ["skipped"] * 3 + ["passed"]
    assert len(one(back, "mojibake_share_shift").history) == 4, "of the old recipe only"
    assert old.baseline == back.baseline != new[0].baseline


def test_bounds_narrow_with_the_spread_of_earlier_keys_and_widen_with_it() -> None:
    draw = random.Random(5)

    def width(spread: float, keys: int, rows: int = 1_000_000) -> float:
        low, high = learned([0.5 + draw.uniform(-spread, spread) for _ in range(keys)], rows, 0.1)
        return high - low

    assert width(0.0, 3) > width(0.0, 30) > 0.05, "few keys prove little"
    assert width(0.001, 30) < width(0.05, 30) < width(0.2, 30)
    assert width(0.01, 3) == pytest.approx(0.2, rel=0.4), "the configured gap on both sides"
    assert width(0.01, 10, rows=100) > width(0.01, 10), "chance counts too"


@pytest.mark.parametrize("values", [[0.0] * 5, [1.0] * 5, [0.5], [0.0, 1.0] * 9])
def test_bounds_of_a_share_stay_shares(values: list[float]) -> None:
    low, high = learned(values, 10, 0.1)
    assert 0 <= low <= high <= 1
    assert low <= sorted(values)[len(values) // 2] <= high


def test_one_key_unlike_the_others_does_not_move_the_bounds(tmp_path: Path) -> None:
    steady = [0.8, 0.81, 0.79, 0.8, 0.8, 0.81, 0.8]
    (low, high), (low2, high2) = (learned(values, 10_000, 0.1) for values in (steady, [*steady, 0.1]))
    assert low2 == pytest.approx(low, abs=0.01) and high2 == pytest.approx(high, abs=0.01)


def test_a_verdict_of_an_earlier_version_is_read_and_compared_with_nothing(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **FEW_ROWS)
    for day in (1, 2, 3, 4):
        commit(lake, World(f"2026-11-0{day}"), "ingest")
        result = check_run(lake, lake.settings, "ingest", f"2026-11-0{day}")
        _as_before(lake, result)
    assert one(result, "length_psi").status == "skipped"


def _as_before(lake: Lake, result: CheckResult) -> None:
    import json

    from kale_tasks.lake.verdicts import verdict_path
    from kale_tasks.quality import verdict

    known: dict[str, Any] = json.loads(lake.storage.read(verdict_path(result.seal_id)))
    del known["baseline"], known["lines"]
    for check in known["checks"]:
        del check["history"], check["suite"]
    lake.storage.put(verdict_path(result.seal_id), json.dumps(known).encode())
    assert verdict.read(lake.storage, result.seal_id)
