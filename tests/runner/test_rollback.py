"""`kale rollback` commits an earlier run of a key again, with a reason, and holds the key there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kale_tasks.contract import registry as steps
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.kale import kale
from tests.lakes import lake_of, lake_sets, settings_of
from tests.steps import Numbers

KEY = "2026-11-01"


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A lake whose key was committed twice, with other rows."""
    plain = replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    monkeypatch.setitem(steps.STEPS, "ingest", plain)
    sets = lake_sets("folder", tmp_path)
    lake, settings = lake_of(sets)
    for salt in ("first ", ""):
        execute(Run(Numbers(salt=salt), lake, settings, KEY))
    yield sets


def committed(sets: list[str]) -> Committed:
    found = Lake(settings_of(sets)).committed("pairs", KEY)
    assert found
    return found


def earlier(sets: list[str]) -> str:
    rows = kale("rollback", "ingest", "--key", KEY, "--json", sets=sets).json
    assert [row["committed"] for row in rows].count(True) == 1
    (run,) = [row["run"] for row in rows if not row["committed"]]
    return str(run)


def roll_back(sets: list[str], run: str) -> int:
    return kale("rollback", "ingest", "--key", KEY, "--to", run, "--because", "wrong list", sets=sets).code


def test_a_key_is_rolled_back_with_all_its_side_tables(sets: list[str]) -> None:
    before, run = committed(sets), earlier(sets)
    assert roll_back(sets, run) == 0
    lake, after = Lake(settings_of(sets)), committed(sets)
    assert (after.fingerprint, after.content != before.content) == (run, True)  # later steps see another input
    assert all(text.startswith("first ") for text in lake.arrow("pairs", KEY)["alt_text"].to_pylist())
    for name, slice_ in (("dedup_index", {}), ("quarantine", {"step": "ingest"})):
        side = lake.committed(name, KEY, slice_)
        assert side and side.fingerprint == run
    assert kale("verify", sets=sets).code == 0


def test_a_held_key_is_not_made_again_until_the_hold_is_released(sets: list[str]) -> None:
    newest, run = committed(sets).fingerprint, earlier(sets)
    roll_back(sets, run)
    (cell,) = [c for c in kale("status", "--json", sets=sets).json if (c["key"], c["step"]) == (KEY, "ingest")]
    assert cell["state"] == "held"
    for command in ("run", "plan"):
        answer = kale(command, "ingest", "--key", KEY, sets=sets)
        assert (answer.code, "wrong list" in answer.complaint) == (3, True)
    assert committed(sets).fingerprint == run
    assert kale("rollback", "ingest", "--key", KEY, "--release-hold", sets=sets).code == 0
    assert kale("run", "ingest", "--key", KEY, sets=sets).code == 0
    assert committed(sets).fingerprint == newest


def test_a_run_with_a_damaged_file_is_refused_before_anything_changes(sets: list[str]) -> None:
    before, run = committed(sets), earlier(sets)
    lake = Lake(settings_of(sets))
    sealed = json.loads(lake.storage.read(f"pairs/key={KEY}/{run}/run.json"))
    path = sealed["files"]["pairs"][0]["path"]
    lake.storage.put(path, lake.storage.read(path)[:-9] + b"otherwise")
    assert (roll_back(sets, run), committed(sets)) == (3, before)


def test_a_run_that_was_not_checked_is_refused(sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before, run = committed(sets), earlier(sets)
    suite = "kale_tasks.quality.suites.pairs:PairsSuite"
    monkeypatch.setitem(steps.STEPS, "ingest", replace(steps.STEPS["ingest"], suite=suite))
    assert (roll_back(sets, run), committed(sets)) == (5, before)


def test_an_unknown_run_is_refused_with_those_that_exist(sets: list[str]) -> None:
    run = earlier(sets)
    answer = kale("rollback", "ingest", "--key", KEY, "--to", "0" * 20, "--because", "x", sets=sets)
    assert (answer.code, run in answer.complaint) == (2, True)
    assert kale("rollback", "ingest", "--key", KEY, "--to", run, sets=sets).code == 2
