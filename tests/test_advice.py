"""Advice in error messages works: each test provokes an error, does what its message says, and succeeds."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kale_tasks.contract import registry as steps
from kale_tasks.lake.tables import Lake
from tests.kale import Answer, kale
from tests.lakes import lake_sets, settings_of

KEY, OTHER = "2026-11-01", "2026-11-02"
ON_KEY = ("--key", KEY)


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A lake with one key of pairs, whose ingest is the small test step."""
    plain = replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    monkeypatch.setitem(steps.STEPS, "ingest", plain)
    sets = lake_sets("folder", tmp_path)
    assert kale("run", "ingest", *ON_KEY, sets=sets).code == 0
    yield sets


def warehouse(sets: list[str]) -> Path:
    return Path(settings_of(sets).warehouse)


def part(sets: list[str]) -> Path:
    lake = Lake(settings_of(sets))
    return Path(lake.storage.root, lake.files("pairs", KEY)[0].path)


def advised(answer: Answer, code: int) -> list[str]:
    """The first command that the message of a failed command names, as arguments."""
    assert answer.code == code, answer.err
    found = re.search(r"`kale ([^`]+)`", answer.complaint)
    assert found, answer.complaint
    return found[1].split()


def succeeds(*words: str, sets: list[str]) -> Answer:
    answer = kale(*words, sets=sets)
    assert answer.code == 0, answer.err
    return answer


def test_a_missing_lake_is_created_by_init(tmp_path: Path) -> None:
    sets = [f"warehouse={tmp_path / 'new'}", f"landing={tmp_path / 'landing'}"]
    (tmp_path / "landing").mkdir()
    succeeds(*advised(kale("status", sets=sets), 2), sets=sets)
    succeeds("status", sets=sets)


def test_a_copied_lake_is_relocated(sets: list[str], tmp_path: Path) -> None:
    shutil.copytree(warehouse(sets), tmp_path / "copy")
    copied = [*sets, f"warehouse={tmp_path / 'copy'}"]
    succeeds(*advised(kale("show", "pairs", *ON_KEY, sets=copied), 2), sets=copied)
    succeeds("show", "pairs", *ON_KEY, sets=copied)


@pytest.mark.parametrize("file", ["catalog.db", "lake.json"])
def test_a_lost_or_damaged_file_of_the_lake_is_restored_from_a_backup(sets: list[str], file: str) -> None:
    path = warehouse(sets) / file
    backup = path.read_bytes()
    path.write_bytes(b"{") if file == "lake.json" else path.unlink()
    answer = kale("show", "pairs", *ON_KEY, sets=sets)
    assert "Restore it from a backup" in answer.complaint
    path.write_bytes(backup)
    succeeds("show", "pairs", *ON_KEY, sets=sets)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-50])])
def test_a_damaged_part_is_repaired(sets: list[str], damage: object) -> None:
    damage(part(sets))  # type: ignore[operator]
    succeeds(*advised(kale("show", "pairs", *ON_KEY, "--rows", "999", sets=sets), 3), sets=sets)
    succeeds("show", "pairs", *ON_KEY, "--rows", "999", sets=sets)


def test_what_verify_finds_is_repaired(sets: list[str]) -> None:
    part(sets).unlink()
    succeeds(*advised(kale("verify", sets=sets), 3), sets=sets)
    succeeds("verify", sets=sets)


def test_a_key_is_named_as_the_message_says(sets: list[str]) -> None:
    answer = kale("show", "pairs", "--key", "../etc", sets=sets)
    example = re.search(r"such as (\S+)\.$", answer.complaint)
    assert answer.code == 2 and example
    succeeds("show", "pairs", "--key", example[1], sets=sets)


def test_an_unknown_step_table_or_snapshot_is_replaced_by_one_of_the_list(sets: list[str]) -> None:
    answer = kale("run", "ingset", *ON_KEY, sets=sets)
    succeeds("run", answer.complaint.partition("Steps: ")[2].split(",")[0], *ON_KEY, sets=sets)
    answer = kale("show", "pair", *ON_KEY, sets=sets)
    succeeds("show", answer.complaint.partition("Tables: ")[2].split(",")[0], *ON_KEY, sets=sets)
    listed = succeeds(*advised(kale("diff", "pairs", "1", "2", sets=sets), 2), "--json", sets=sets).json
    succeeds("diff", "pairs", str(listed[0]["snapshot"]), str(listed[-1]["snapshot"]), sets=sets)


def test_a_preview_is_begun(sets: list[str]) -> None:
    words = advised(kale("show", "pairs", *ON_KEY, "--preview", "mine", sets=sets), 2)
    named = {"STEP": "ingest", "KEY": KEY}
    succeeds(*(named.get(word, word) for word in words), sets=sets)
    succeeds("show", "pairs", *ON_KEY, "--preview", "mine", sets=sets)


def test_maintenance_works_without_the_limit_that_the_settings_have(sets: list[str]) -> None:
    limited = [*sets, "limit=5"]
    answer = kale("maintain", "--dry-run", sets=limited)
    assert "Leave out `limit`" in answer.complaint
    rows = succeeds(*advised(answer, 2), "--json", sets=limited).json
    assert next(row["from"] for row in rows if row["setting"] == "limit") == "--set"
    succeeds("maintain", "--dry-run", sets=sets)


def test_a_held_key_is_released(sets: list[str]) -> None:
    succeeds("run", "ingest", *ON_KEY, "--again", sets=sets)
    rows = succeeds("rollback", "ingest", *ON_KEY, "--json", sets=sets).json
    earlier = next(row["run"] for row in rows if not row["committed"])
    answer = kale("rollback", "ingest", *ON_KEY, "--to", "0" * 20, "--because", "test", sets=sets)
    named = answer.complaint.rpartition(": ")[2].removesuffix(".")
    assert (answer.code, named) == (2, earlier)
    succeeds("rollback", "ingest", *ON_KEY, "--to", named, "--because", "test", sets=sets)
    answer = kale("run", "ingest", *ON_KEY, "--again", sets=sets)
    succeeds(*advised(answer, 3), sets=sets)
    succeeds("run", "ingest", *ON_KEY, "--again", sets=sets)


def test_a_run_without_a_plan_is_planned(sets: list[str]) -> None:
    plan = succeeds("plan", "ingest", "--key", OTHER, "--json", sets=sets).json
    name = ("ingest", "--key", OTHER, "--fingerprint")
    answer = kale("work", *name, "f" * 20, "--chunk", "0", sets=sets)
    assert (answer.code, "Plan again" in answer.complaint) == (5, True)
    answer = kale("work", *name, plan["fingerprint"], "--chunk", "99", sets=sets)
    last = re.search(r"chunks 0 to (\d+)", answer.complaint)
    assert answer.code == 2 and last
    succeeds("work", *name, plan["fingerprint"], "--chunk", last[1], sets=sets)


def test_missing_parts_are_made_by_running_again(sets: list[str]) -> None:
    plan = succeeds("plan", "ingest", "--key", OTHER, "--json", sets=sets).json
    answer = kale("commit", "ingest", "--key", OTHER, "--fingerprint", plan["fingerprint"], sets=sets)
    assert (answer.code, "Run the step again" in answer.complaint) == (5, True)
    succeeds("run", "ingest", "--key", OTHER, sets=sets)


def test_a_missing_input_is_made_by_its_step(sets: list[str]) -> None:
    answer = kale("plan", "images", "--key", OTHER, sets=sets)
    assert (answer.code, "images.evaluation" in answer.complaint, "or null" in answer.complaint) == (2, True, True)
    sets = [*sets, "images.evaluation=null"]
    answer = kale("plan", "images", "--key", OTHER, sets=sets)
    assert (answer.code, f"pairs {OTHER} is not committed yet" in answer.complaint) == (5, True), answer.err
    succeeds("run", "ingest", "--key", OTHER, sets=sets)
    succeeds("plan", "images", "--key", OTHER, sets=sets)


def test_an_unknown_catalog_is_replaced_by_one_that_the_message_names(sets: list[str], tmp_path: Path) -> None:
    answer = kale("init", sets=[*sets, "catalog=mysql://host/kale", f"warehouse={tmp_path / 'new'}"])
    assert (answer.code, "sqlite:///" in answer.complaint) == (2, True)
    catalog = f"catalog=sqlite:///{tmp_path / 'other.db'}"
    succeeds("init", sets=[*sets, catalog, f"warehouse={tmp_path / 'new'}"])


def test_options_that_are_missing_are_named(sets: list[str], tmp_path: Path) -> None:
    answer = kale("takedown", sets=sets)
    assert (answer.code, "--list FILE" in answer.complaint) == (2, True)
    listed = tmp_path / "requests.txt"
    listed.write_text("uid xyz")
    answer = kale("takedown", "--list", str(listed), sets=sets)
    assert (answer.code, "32 hex digits" in answer.complaint, "xyz" in answer.err) == (2, True, False)
    listed.write_text("0" * 32)
    succeeds("takedown", "--list", str(listed), sets=sets)


def test_the_end_of_a_takedown_that_is_not_due_is_forced(sets: list[str], tmp_path: Path) -> None:
    listed = tmp_path / "requests.txt"
    listed.write_text("0" * 32)
    name = succeeds("takedown", "--list", str(listed), "--json", sets=sets).json["name"]
    answer = kale("takedown", "--end", name, sets=sets)
    assert (answer.code, "Use --now" in answer.complaint) == (5, True)


def test_an_unknown_setting_is_replaced_by_one_that_config_lists(sets: list[str]) -> None:
    assert kale("status", sets=[*sets, "parts.rows=5"]).code == 2
    names = [row["setting"] for row in succeeds("config", "--json", sets=sets).json]
    assert "parts.part_rows" in names
    succeeds("status", sets=[*sets, "parts.part_rows=5"])
