"""A drill: catalog and files are backed up and restored, together and to different times."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.runner.verify import verify
from tests.kale import kale
from tests.lakes import KINDS, lake_sets, settings_of
from tests.steps import Numbers

FIRST, SECOND = "2026-11-01", "2026-11-02"
Restore = Callable[[], None]


class Drill:
    """A lake, and backups of its catalog and of its files, each of which can be put back by itself."""

    def __init__(self, sets: list[str], folder: Path) -> None:
        self.sets, self.settings, self._folder = sets, settings_of(sets), folder

    @property
    def lake(self) -> Lake:
        """The lake as a new process opens it."""
        return Lake(self.settings)

    def make(self, key: str, salt: str = "") -> None:
        """Make a key."""
        execute(Run(Numbers(50, salt=salt), self.lake, self.settings, key))

    def texts(self) -> dict[str, list[str]]:
        """The texts of each key."""
        lake = self.lake
        return {p.key: sorted(lake.arrow("pairs", p.key)["alt_text"].to_pylist()) for p in lake.partitions("pairs")}

    def take_down(self, uid: str) -> int:
        """Take a row down and return the exit code."""
        (values := self._folder / "values.txt").write_text(uid)
        return kale("takedown", "--list", str(values), sets=self.sets).code

    def back_up_files(self) -> Restore:
        """Copy all files of the warehouse; what is returned makes it equal to the copy."""
        storage = self.lake.storage
        kept = {path: storage.read(path) for path in self._files()}

        def restore() -> None:
            for path in set(self._files()) - kept.keys():
                storage.delete(path)
            for path, content in kept.items():
                storage.put(path, content)

        return restore

    def back_up_catalog(self) -> Restore:
        """Copy the catalog; what is returned puts it back."""
        url = self.settings.catalog or ""
        copy = self._folder / "catalog.backup"
        if not url:
            catalog = Path(self.settings.warehouse, "catalog.db")
            shutil.copy(catalog, copy)
            return lambda: shutil.copy(copy, catalog) and None
        url, tools = url.replace("+psycopg2", ""), max(Path("/usr/lib/postgresql").glob("*/bin"))
        subprocess.run([tools / "pg_dump", "-Fc", "-f", copy, url], check=True)
        command = [tools / "pg_restore", "--clean", "--if-exists", "-d", url, copy]
        return lambda: subprocess.run(command, check=True, capture_output=True) and None

    def _files(self) -> list[str]:
        return [entry.path for entry in self.lake.storage.entries("") if not entry.path.startswith("catalog.db")]


@pytest.fixture(params=[KINDS[0], pytest.param(KINDS[1], marks=[pytest.mark.server, pytest.mark.nightly])])
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
