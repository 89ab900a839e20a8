"""Housekeeping deletes what nobody uses, and nothing else."""

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from kale_tasks.contract.types import Plan
from kale_tasks.errors import Conflict
from kale_tasks.lake import maintain
from kale_tasks.lake.maintain import WITHDRAWN, Grace, delete, expire, grace_of, orphans
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit, execute, plan, work
from kale_tasks.runner.verify import verify
from kale_tasks.settings import Settings
from tests.kale import kale
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"
NOW = timedelta(seconds=-5)
NONE = Grace(NOW, NOW)
Opened = tuple[Lake, Settings]


def rows(lake: Lake) -> list[dict[str, object]]:
    return sorted(lake.arrow("pairs").to_pylist(), key=lambda r: str(r["uid"]))


def test_replaced_files_go_after_their_snapshot_and_live_ones_stay(lake: Opened) -> None:
    opened, _ = lake
    execute(Run(Numbers(50, salt="old "), *lake, KEY))
    execute(Run(Numbers(50, salt="new "), *lake, KEY))
    before = rows(opened)
    assert list(orphans(opened, NONE)) == []  # the older snapshot still leads to the old files
    expire(opened, NOW)
    unused = list(orphans(opened, NONE))
    assert any(e.path.startswith("pairs/key=") for e in unused)
    delete(opened, unused, NONE)
    assert rows(opened) == before
    assert list(orphans(opened, NONE)) == []


@pytest.mark.any_store
def test_work_in_progress_is_safe_for_the_grace_time(lake: Opened) -> None:
    opened, _ = lake
    run = Run(Numbers(50), *lake, KEY)
    work(run, plan(run).chunks[0])
    assert list(orphans(opened, Grace(timedelta(hours=1), timedelta(days=14)))) == []
    assert any("part-" in e.path for e in orphans(opened, NONE))


@pytest.mark.any_store
def test_a_dry_run_changes_nothing(lake: Opened) -> None:
    opened, _ = lake
    for salt in ("a", "b"):
        execute(Run(Numbers(20, salt=salt), *lake, KEY))
    snapshots = len(opened.table("pairs").snapshots())
    assert expire(opened, NOW, dry_run=True)["pairs"]
    assert len(opened.table("pairs").snapshots()) == snapshots


def age(lake: Lake, hours: float) -> None:
    """Move the clock: every file of the lake becomes that much older."""
    for file in Path(lake.storage.root).rglob("*"):
        if file.is_file():
            then = file.stat().st_mtime - hours * 3600
            os.utime(file, (then, then))


def move_clock(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Let maintenance see a later time."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=hours)

    monkeypatch.setattr(maintain, "datetime", Later)


@pytest.mark.any_store
def test_a_run_of_72_hours_survives_nightly_maintenance(lake: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, settings = lake
    run = Run(Numbers(200), *lake, KEY)
    made = plan(run)
    grace = grace_of(settings)
    for night, chunk in enumerate(made.chunks[:3], 1):
        work(run, chunk)
        move_clock(monkeypatch, 25 * night)
        expire(opened, timedelta(days=1))
        delete(opened, orphans(opened, grace), grace)
    for chunk in made.chunks[3:]:
        work(run, chunk)
    assert commit(run, made).rows_in == 200
    assert sum(file.rows for file in opened.files("pairs", KEY)) == opened.arrow("pairs").num_rows > 0


@pytest.mark.any_store
def test_a_commit_that_stalls_for_days_does_not_name_metadata_that_is_gone(
    lake: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, settings = lake
    execute(Run(Numbers(20), *lake, "2026-10-31"))
    commit_table, grace, nights = SqlCatalog.commit_table, grace_of(settings), [48]

    def stalled(self: Any, table: Any, *changes: Any) -> Any:
        # Everything that this commit needs is written: now the process stops for two days.
        if table.name()[-1] == "pairs" and nights:
            nights.clear()
            move_clock(monkeypatch, 48)
            assert delete(opened, list(orphans(opened, grace)), grace) > 0
        return commit_table(self, table, *changes)

    monkeypatch.setattr(SqlCatalog, "commit_table", stalled)
    assert execute(Run(Numbers(50), *lake, KEY)).rows_in == 50
    assert {row["key"] for row in rows(opened)} == {"2026-10-31", KEY}
    assert len(opened.files("pairs", KEY)) == 1


@pytest.mark.parametrize("dies", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("before", ["dedup_index", "quarantine", "runs"])
def test_a_commit_that_stalls_for_weeks_between_its_tables_keeps_its_files(
    before: str, dies: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, settings = lake = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(50, salt="old "), *lake, KEY))
    commit_table, grace, weeks = SqlCatalog.commit_table, grace_of(settings), [3]

    def stalled(self: Any, table: Any, *changes: Any) -> Any:
        if table.name()[-1] == before and weeks:
            move_clock(monkeypatch, 24 * 7 * weeks.pop())
            expire(opened, timedelta(days=7))
            delete(opened, list(orphans(opened, grace)), grace)
            if dies:
                raise InterruptedError
        return commit_table(self, table, *changes)

    monkeypatch.setattr(SqlCatalog, "commit_table", stalled)
    with suppress(InterruptedError):
        execute(Run(Numbers(60, salt="new "), *lake, KEY))
    execute(Run(Numbers(60, salt="new "), *lake, KEY))
    assert {str(row["alt_text"])[:4] for row in rows(opened)} == {"new "}
    assert opened.arrow("dedup_index")["uid"].to_pylist() == opened.arrow("pairs")["uid"].to_pylist()
    assert opened.arrow("quarantine").num_rows and opened.arrow("runs").num_rows
    assert not verify(opened).damaged


@pytest.mark.any_store
def test_two_maintenances_at_once_expire_the_same_snapshots(lake: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = lake
    for salt in ("a", "b", "c"):
        execute(Run(Numbers(20, salt=salt), *lake, KEY))
    commit_table, others = SqlCatalog.commit_table, [1]

    def overtaken(self: Any, table: Any, *changes: Any) -> Any:
        if others:
            others.clear()
            assert expire(opened, NOW)["pairs"]
        return commit_table(self, table, *changes)

    monkeypatch.setattr(SqlCatalog, "commit_table", overtaken)
    assert expire(opened, NOW)["pairs"]
    assert [len(opened.table(name).snapshots()) for name in ("pairs", "runs")] == [1, 1]


def test_a_run_that_goes_on_while_it_is_being_deleted_keeps_its_files(tmp_path: Path) -> None:
    opened, settings = lake = lake_of(lake_sets("folder", tmp_path))
    run = Run(Numbers(50), *lake, KEY)
    made = plan(run)
    work(run, made.chunks[0])
    age(opened, 24 * 30)
    listed = list(orphans(opened, grace_of(settings)))
    assert listed
    again = Run(Numbers(50), *lake, KEY)
    made = plan(again)  # the same run, planned once more: its parts are used as they are
    assert delete(opened, listed, grace_of(settings)) == 0
    assert commit(again, made).rows_in == 50


def test_a_run_that_is_committed_again_while_it_is_being_deleted_keeps_its_files(tmp_path: Path) -> None:
    opened, settings = lake = lake_of(lake_sets("folder", tmp_path))
    for salt in ("old ", "new "):
        execute(Run(Numbers(50, salt), *lake, KEY))
    before = rows(opened)
    expire(opened, NOW)
    listed = list(orphans(opened, NONE))  # the files of the first run
    again = execute(Run(Numbers(50, "old "), *lake, KEY))  # the settings go back: what it had made is used as it is
    assert listed and again.rows == len(before)
    age(opened, 24 * 30)
    delete(opened, listed, grace_of(settings))
    assert {str(row["alt_text"]).split()[0] for row in rows(opened)} == {"old"}


def test_an_abandoned_run_is_deleted_after_its_grace(tmp_path: Path) -> None:
    opened, settings = lake = lake_of(lake_sets("folder", tmp_path))
    run = Run(Numbers(50), *lake, KEY)
    work(run, plan(run).chunks[0])
    age(opened, 24 * 15)
    grace = grace_of(settings)
    assert delete(opened, list(orphans(opened, grace)), grace) > 0
    assert [entry.path for entry in opened.storage.entries(run.folder)] == [f"{run.folder}/{WITHDRAWN}"]


@pytest.mark.any_store
def test_a_run_that_was_deleted_as_unused_is_planned_under_another_name(lake: Opened) -> None:
    opened, _ = lake
    run = Run(Numbers(50), *lake, KEY)
    made = plan(run)
    work(run, made.chunks[0])
    delete(opened, list(orphans(opened, NONE)), NONE)
    with pytest.raises(Conflict, match="deleted as unused"):
        work_and_commit(run, made)
    again = Run(Numbers(50), *lake, KEY)
    assert again.fingerprint != run.fingerprint
    assert execute(again).rows_in == 50
    assert plan(Run(Numbers(50), *lake, KEY)).committed


def work_and_commit(run: Run, made: Plan) -> None:
    for chunk in made.chunks:
        work(run, chunk)
    commit(run, made)


def test_a_run_that_is_used_again_while_it_is_withdrawn_goes_on_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, settings = lake = lake_of(lake_sets("folder", tmp_path))
    run = Run(Numbers(50), *lake, KEY)
    made = plan(run)
    age(opened, 24 * 30)
    real = maintain.move_epoch

    def plan_meanwhile(lake: Lake, names: list[str]) -> None:
        opened.storage.put(f"{run.folder}/plan.json", made.model_dump_json().encode())
        real(lake, names)

    monkeypatch.setattr(maintain, "move_epoch", plan_meanwhile)
    assert delete(opened, list(orphans(opened, grace_of(settings))), grace_of(settings)) == 0
    again = Run(Numbers(50), *lake, KEY)
    assert again.fingerprint == run.fingerprint
    assert execute(again).rows_in == 50


def test_what_a_run_spent_is_forgotten_after_its_grace(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    opened, _ = lake_of(sets)
    old = {"runs/ended/a.json", "runs/ended/b.json", "openai/2026-10-01/a.json"}
    for path in (*old, "runs/going-on/a.json"):
        opened.storage.put(f"budgets/{path}", b"{}")
    age(opened, 24 * 15)
    for path in ("runs/going-on/b.json", "openai/2026-11-01/a.json"):
        opened.storage.put(f"budgets/{path}", b"{}")
    before = files(opened, "budgets")
    assert kale("maintain", "--dry-run", "--json", sets=sets).json["files"] == 3
    assert files(opened, "budgets") == before
    assert kale("maintain", "--json", sets=sets).json["files"] == 3
    assert files(opened, "budgets") == before - {f"budgets/{path}" for path in old}


def files(lake: Lake, folder: str) -> set[str]:
    return {entry.path for entry in lake.storage.entries(folder)}
