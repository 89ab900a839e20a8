"""Housekeeping deletes what nobody uses, and nothing else."""

from datetime import timedelta

from kale_tasks.lake.maintain import delete, expire, orphans
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.settings import Settings
from tests.steps import Numbers

KEY = "2026-11-01"
NOW = timedelta(seconds=-5)
Opened = tuple[Lake, Settings]


def rows(lake: Lake) -> list[dict[str, object]]:
    return sorted(lake.arrow("pairs").to_pylist(), key=lambda r: str(r["uid"]))


def test_replaced_files_go_after_their_snapshot_and_live_ones_stay(lake: Opened) -> None:
    opened, _ = lake
    execute(Run(Numbers(50, salt="old "), *lake, KEY))
    execute(Run(Numbers(50, salt="new "), *lake, KEY))
    before = rows(opened)
    assert list(orphans(opened, NOW)) == []  # the older snapshot still leads to the old files
    expire(opened, NOW)
    unused = list(orphans(opened, NOW))
    assert any(e.path.startswith("pairs/key=") for e in unused)
    delete(opened, unused)
    assert rows(opened) == before
    assert list(orphans(opened, NOW)) == []


def test_work_in_progress_is_safe_for_the_grace_time(lake: Opened) -> None:
    opened, _ = lake
    run = Run(Numbers(50), *lake, KEY)
    work(run, plan(run).chunks[0])
    assert list(orphans(opened, timedelta(hours=1))) == []
    assert any("part-" in e.path for e in orphans(opened, NOW))


def test_a_dry_run_changes_nothing(lake: Opened) -> None:
    opened, _ = lake
    for salt in ("a", "b"):
        execute(Run(Numbers(20, salt=salt), *lake, KEY))
    snapshots = len(opened.table("pairs").snapshots())
    assert expire(opened, NOW, dry_run=True)["pairs"]
    assert len(opened.table("pairs").snapshots()) == snapshots
