"""A lake whose catalog and files are backed up and restored, each by itself."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.kale import kale
from tests.lakes import KINDS, settings_of
from tests.steps import Numbers

# For a fixture of lakes: a folder always, S3 with PostgreSQL at night.
KINDS_OF_DRILLS = [KINDS[0], pytest.param(KINDS[1], marks=[pytest.mark.server, pytest.mark.nightly])]
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
        kept = {path: storage.read(path) for path in _files(storage)}

        def restore() -> None:
            for path in set(_files(storage)) - kept.keys():
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


def _files(storage: Storage) -> list[str]:
    return [entry.path for entry in storage.entries("") if not entry.path.startswith("catalog.db")]
