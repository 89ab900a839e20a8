"""Processes killed at every step of writing and committing: no row lost, none twice, no reader sees half a key."""

from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Thread

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.faults.child import POINTS
from tests.faults.child import main as child_main
from tests.lakes import KINDS, lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"
OLD, NEW = 30, 50


@pytest.fixture(params=KINDS)
def sets(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The settings of a new lake of each kind."""
    return lake_sets(request.param, tmp_path, request)


def child(point: str, keys: str, rows: int, salt: str, sets: list[str]) -> BaseProcess:
    """Start a process forked from one that has imported everything."""
    context = get_context("forkserver")
    context.set_forkserver_preload([child_main.__module__])
    process = context.Process(target=child_main, args=(point, keys, str(rows), salt, *sets))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Wait for a process and return its exit code."""
    process.join()
    return process.exitcode


def rows(lake: Lake) -> list[tuple[str, str]]:
    table = lake.arrow("pairs", KEY, ["uid", "alt_text"])
    return sorted(zip(table["uid"].to_pylist(), table["alt_text"].to_pylist(), strict=True))


class Reader(Thread):
    """Reads the key all the time and remembers every state it saw."""

    def __init__(self, opened: tuple[Lake, Settings]) -> None:
        super().__init__(daemon=True)
        self._lake, self._over, self.seen = opened[0], Event(), set[tuple[str, ...]]()

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.seen.add(tuple(self._lake.arrow("pairs", KEY, ["alt_text"])["alt_text"].sort().to_pylist()))

    def stop(self) -> set[tuple[str, ...]]:
        self._over.set()
        self.join()
        return self.seen


# In every test run also on S3: a file, and what the catalog hears.
_ON_S3 = ("with a part half on its way", "before the catalog hears of it")


@pytest.mark.parametrize(
    "point", [point if point in _ON_S3 else pytest.param(point, marks=pytest.mark.any_store) for point in POINTS]
)
def test_killed(point: str, sets: list[str]) -> None:
    lake, settings = lake_of(sets)
    execute(Run(Numbers(OLD, "old "), lake, settings, KEY))
    reader = Reader(lake_of(sets))
    reader.start()
    assert ended(child(point, KEY, NEW, "new ", sets)) == -9
    after_death = rows(lake)
    assert ended(child("", KEY, NEW, "new ", sets)) == 0
    states = reader.stop()
    expected = sorted(f"new {v}" for v in range(NEW) if v % 7 and v % 11)
    assert [text for _, text in rows(lake)] == [t for _, t in sorted((f"{int(t[4:]):032x}", t) for t in expected)]
    old = tuple(sorted(f"old {v}" for v in range(OLD) if v % 7 and v % 11))
    assert states <= {old, tuple(expected)}
    assert tuple(sorted(t for _, t in after_death)) in {old, tuple(expected)}
    assert lake.arrow("quarantine", KEY).num_rows == 4
    assert lake.arrow("dedup_index", KEY).num_rows == len(expected)


@pytest.mark.any_store
def test_two_processes_committing_many_keys_each_both_land(sets: list[str]) -> None:
    count = 6 if any(text.startswith("warehouse=s3") for text in sets) else 20
    lake_of(sets)[0].table("pairs")
    keys = [[f"2026-{month}-{day:02}" for day in range(1, count + 1)] for month in ("01", "02")]
    both = [child("", ",".join(k), 10, "", sets) for k in keys]
    assert [ended(process) for process in both] == [0, 0]
    lake, _ = lake_of(sets)
    assert lake.keys("pairs") == sorted(keys[0] + keys[1])
    assert lake.arrow("pairs").num_rows == 2 * count * 8
