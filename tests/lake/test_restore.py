"""A drill: catalog and files are backed up and restored, together and to different times."""

from pathlib import Path

import pytest

from kale_tasks.runner.verify import verify
from tests.kale import kale
from tests.lake.drill import KINDS_OF_DRILLS, Drill
from tests.lakes import lake_sets

FIRST, SECOND = "2026-11-01", "2026-11-02"


@pytest.fixture(params=KINDS_OF_DRILLS)
def drill(request: pytest.FixtureRequest, tmp_path: Path) -> Drill:
    return Drill(lake_sets(request.param, tmp_path, request), tmp_path)


def test_a_backup_of_catalog_and_files_is_the_lake_of_that_time(drill: Drill) -> None:
    drill.make(FIRST, "old ")
    before = drill.texts()
    catalog, files = drill.back_up_catalog(), drill.back_up_files()
    drill.make(FIRST, "new ")
    drill.make(SECOND)
    files()
    catalog()
    assert drill.texts() == before
    assert verify(drill.lake).damaged == []
    drill.make(SECOND)
    assert drill.texts().keys() == {FIRST, SECOND}


def test_files_that_are_newer_than_the_catalog_are_not_made_again(drill: Drill) -> None:
    drill.make(FIRST, "old ")
    older = drill.texts()
    catalog = drill.back_up_catalog()
    drill.make(FIRST, "new ")
    drill.make(SECOND)
    newer, contents = drill.texts(), {p: c.content for p, c in drill.lake.partitions("pairs").items()}
    catalog()
    assert drill.texts() == older
    assert verify(drill.lake).damaged == []
    parts = {entry.path: entry.modified for entry in drill.lake.storage.entries("pairs") if "/part-" in entry.path}
    drill.make(FIRST, "new ")
    drill.make(SECOND)
    assert (drill.texts(), {p: c.content for p, c in drill.lake.partitions("pairs").items()}) == (newer, contents)
    assert {e.path: e.modified for e in drill.lake.storage.entries("pairs") if "/part-" in e.path} == parts
    assert kale("maintain", sets=drill.sets).code == 0
    assert drill.texts() == newer


def test_files_that_are_older_than_the_catalog_are_missed_and_the_message_says_what_to_restore(drill: Drill) -> None:
    drill.make(FIRST, "old ")
    files = drill.back_up_files()
    drill.make(FIRST, "new ")
    files()
    for command in (["status"], ["verify"], ["maintain"], ["doctor"]):
        refused = kale(*command, sets=drill.sets)
        assert refused.code, command
        assert "files are older than the catalog" in refused.out + refused.err, (command, refused.err)


def test_what_was_taken_down_after_the_backup_comes_back_and_goes_when_the_takedown_is_repeated(drill: Drill) -> None:
    drill.make(FIRST)
    assert drill.take_down("f" * 32) == 0  # of no row; there are all tables now
    catalog = drill.back_up_catalog()
    uid = drill.lake.arrow("pairs", FIRST)["uid"][0].as_py()
    assert drill.take_down(uid) == 0
    catalog()
    assert uid in drill.lake.arrow("pairs", FIRST)["uid"].to_pylist(), "the catalog still names the older file"
    assert drill.take_down(uid) == 0
    assert uid not in drill.lake.arrow("pairs", FIRST)["uid"].to_pylist()
    assert verify(drill.lake).damaged == []
