"""Processes whose clock is an hour off: what is committed last is what readers see, whatever its time says."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.runner.verify import verify
from tests.kale import kale, kale_process
from tests.lakes import lake_of, lake_sets

pytestmark = pytest.mark.skipif(not which("cc"), reason="no C compiler")
KEY, HOUR, BAD_CONFIG = "2026-11-01", 3600, 2
Start = Callable[..., Any]


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that moves the clock of a process."""
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """A lake in a folder."""
    return lake_sets("folder", tmp_path)


@pytest.fixture
def start(clock: Path, sets: list[str]) -> Start:
    """Starts a process that makes the key, with its clock off by some seconds."""

    def started(off: int, salt: str, point: str = "", rows: int = 50) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.faults.child", point, KEY, str(rows), salt, *sets]
        moved = os.environ | {"LD_PRELOAD": str(clock), "CLOCK_OFF": str(off)}
        return subprocess.Popen(command, env=moved, stderr=subprocess.PIPE, text=True)

    return started


def ended(process: Any) -> tuple[int, str]:
    error = process.communicate(timeout=120)[1]
    return process.returncode, error


def texts(lake: Lake) -> list[str]:
    return sorted(lake.arrow("pairs", KEY)["alt_text"].to_pylist())


def expected(salt: str) -> list[str]:
    return sorted(f"{salt}{v}" for v in range(50) if v % 7 and v % 11)


def test_the_clock_of_a_process_can_be_moved(clock: Path) -> None:
    code = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"
    moved = os.environ | {"LD_PRELOAD": str(clock), "CLOCK_OFF": str(-HOUR)}
    shown = subprocess.run([sys.executable, "-c", code], env=moved, capture_output=True, text=True, check=True).stdout
    assert all(HOUR - 60 < time.time() - float(seen) < HOUR + 60 for seen in shown.split())


@pytest.mark.further
def test_the_last_commit_counts_whatever_its_clock_says(start: Start, sets: list[str]) -> None:
    for off, salt in ((0, "first "), (-HOUR, "an hour back "), (HOUR, "an hour on "), (0, "last ")):
        assert ended(start(off, salt)) == (0, "")
        assert texts(lake_of(sets)[0]) == expected(salt)
    assert kale("maintain", sets=sets).code == 0
    lake = lake_of(sets)[0]
    assert texts(lake) == expected("last ")
    assert verify(lake).damaged == []


@pytest.mark.parametrize("off", [-HOUR, pytest.param(HOUR, marks=pytest.mark.further)])
def test_who_takes_over_from_the_dead_by_another_clock_does_not_wait(off: int, start: Start, sets: list[str]) -> None:
    assert ended(start(0, "new ", "after the second part"))[0] == -9
    began = time.monotonic()
    assert ended(start(off, "new ")) == (0, "")
    assert time.monotonic() - began < 60  # less than the term of a lease
    assert texts(lake_of(sets)[0]) == expected("new ")


def test_processes_of_two_clocks_that_make_the_same_end_in_one_set_of_rows(start: Start, sets: list[str]) -> None:
    both = [start(off, "new ") for off in (0, -HOUR)]
    assert [ended(process)[0] for process in both] == [0, 0]
    lake = lake_of(sets)[0]
    assert texts(lake) == expected("new ")
    made = lake.committed("pairs", KEY)
    assert made and (made.rows, made.rows_in) == (len(expected("new ")), 50)


@pytest.mark.parametrize("off", [pytest.param(-HOUR, marks=pytest.mark.further), HOUR])
def test_an_s3_that_refuses_a_clock_is_named_with_it(
    off: int, clock: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    moved = ["env", f"LD_PRELOAD={clock}", f"CLOCK_OFF={off}"]
    answer = kale_process("status", sets=lake_sets("s3", tmp_path, request), before=moved)
    assert answer.code == BAD_CONFIG
    assert "its clock is off" in answer.complaint and answer.err.count("\n") == 1, answer.err
