"""Two attempts at once share the work: a part is made twice only if its maker was stopped or killed in it."""

import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import Transient
from kale_tasks.lake import leases, maintain
from kale_tasks.lake.leases import Lease, Renewals
from kale_tasks.lake.maintain import Grace, delete, orphans
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from tests.lakes import lake_of, lake_sets
from tests.services.server import wait_until
from tests.steps import Numbers

KEY = "2026-11-01"
NOW = timedelta(seconds=-5)


class SlowNumbers(Numbers):
    """Numbers that takes its time for a part, and notes the process and the number of each in `made.txt`."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(120)
        self.folder, self.seconds = folder, seconds

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for part in super().work(run, chunk, numbers):
            assert isinstance(part, Part)
            with open(self.folder / "made.txt", "a") as made:
                made.write(f"{os.getpid()} {part.number}\n")
            time.sleep(self.seconds)
            yield part


def sets(folder: Path) -> list[str]:
    return [f"warehouse={folder / 'lake'}", "parts.part_rows=10", "parts.chunk_rows=60"]


def attempt(folder: Path, seconds: float, task: str = "") -> Any:
    """Start one attempt to make the key, in a process of its own."""

    def run() -> None:
        gc.freeze()  # to collect objects of libraries that had threads in the parent can end this process
        os.environ["KALE_TASK"] = task
        try:
            execute(Run(SlowNumbers(folder, seconds), *lake_of(sets(folder)), KEY))
        except Transient as error:
            (folder / f"{os.getpid()}.txt").write_text(str(error))

    process = get_context("fork").Process(target=run)
    process.start()
    return process


def ended(folder: Path, process: Any) -> str:
    """Wait for the end of an attempt, and return the error that it ended with."""
    process.join(60)
    assert process.exitcode == 0
    said = folder / f"{process.pid}.txt"
    return said.read_text() if said.exists() else ""


def made(folder: Path) -> list[tuple[int, int]]:
    """The process and the number of each part, in the order in which they were made."""
    path = folder / "made.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(process), int(number)) for process, number in map(str.split, lines)]


def committed(folder: Path) -> int:
    found = lake_of(sets(folder))[0].committed("pairs", KEY)
    return found.rows_in if found else 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lake_of(sets(tmp_path))
    return tmp_path


def test_two_attempts_at_once_make_each_part_once(folder: Path) -> None:
    both = [attempt(folder, 0.1) for _ in range(2)]
    assert [ended(folder, process) for process in both] == ["", ""]
    assert sorted(number for _, number in made(folder)) == list(range(12))
    assert committed(folder) == 120


@pytest.mark.parametrize("task", ["", "kale_ingest scheduled__2026-11-01 work 0"])
def test_after_a_kill_the_next_attempt_makes_only_what_is_missing_and_does_not_wait(folder: Path, task: str) -> None:
    first = attempt(folder, 0.2, task)
    wait_until(lambda: len(made(folder)) >= 4, "three finished parts", 60)
    first.kill()
    first.join()
    began = time.monotonic()
    second = attempt(folder, 0, task)
    assert not ended(folder, second)
    assert time.monotonic() - began < leases.TERM_SECONDS
    twice = [number for number, times in Counter(number for _, number in made(folder)).items() if times > 1]
    assert len(twice) <= 1
    assert committed(folder) == 120


def test_a_stopped_attempt_that_wakes_late_has_lost_its_chunk(folder: Path) -> None:
    first = attempt(folder, 0.2)
    wait_until(lambda: len(made(folder)) >= 2, "a finished part", 60)
    os.kill(first.pid, signal.SIGSTOP)
    before = len(made(folder))
    second = attempt(folder, 0)
    assert not ended(folder, second)
    os.kill(first.pid, signal.SIGCONT)
    error = ended(folder, first)
    mine = [number for process, number in made(folder)[before:] if process == first.pid]
    assert not mine, "it went on with parts of the other"
    assert "took over the work of this process" in error
    assert committed(folder) == 120
    assert len(made(folder)) <= 13


def test_a_lease_of_another_machine_is_taken_when_it_is_old_by_the_clock_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FolderStorage(tmp_path)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(leases, "machine", lambda: "elsewhere")
        other = Lease(storage, "run", [0])
        assert other.take() == ""
    lease = Lease(storage, "run", [0])
    assert lease.take() == f"process {os.getpid()}"
    path = tmp_path / lease.paths[0]
    late = path.stat().st_mtime - leases.TERM_SECONDS - 1
    os.utime(path, (late, late))
    lease = Lease(storage, "run", [0])
    assert lease.take() == ""
    with pytest.raises(Transient, match="took over"):
        other.check()
    other.give_up()  # it is not its own any more
    lease.check()
    lease.give_up()
    assert other.take() == ""


def test_all_leases_that_are_held_are_renewed_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.05)
    lease, other = Lease(FolderStorage(tmp_path), "run", [0, 1]), Lease(FolderStorage(tmp_path), "other", [0])
    assert lease.take() == other.take() == ""
    files = [tmp_path / path for path in (*lease.paths, *other.paths)]
    before = threading.active_count()
    first = [file.read_text() for file in files]
    with Renewals(lease) as renewals:
        renewals.add(other)
        assert threading.active_count() == before + 1
        wait_until(lambda: all(f.read_text() != text for f, text in zip(files, first, strict=True)), "renewals", 10)
        lease.check()
        assert lease.held and other.held
    assert all('"token": ""' in file.read_text() for file in files)


def test_who_waits_for_a_lease_asks_the_clock_of_the_store_once_in_a_term_and_looks_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, sleeps, probes = FolderStorage(tmp_path), list[float](), list[float]()
    holder = Lease(storage, "run", [0])
    assert holder.take() == ""
    put = FolderStorage.put
    monkeypatch.setattr(FolderStorage, "put", lambda *of: (probes.append(sum(sleeps)), put(*of)))
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: sum(sleeps), sleep=sleeps.append))
    assert not Lease(storage, "run", [0]).wait(lambda: sum(sleeps) > 1200, lambda _: None)
    assert sleeps == sorted(sleeps) and sleeps[0] <= 0.2 and sleeps[-1] == 10
    assert 18 <= len(probes) <= 21


def test_maintenance_deletes_no_run_that_another_works_on(tmp_path: Path) -> None:
    opened, settings = lake_of(lake_sets("folder", tmp_path))
    run = Run(Numbers(100), opened, settings, KEY)
    planned = plan(run)
    work(run, planned.chunks[0])
    unused = list(orphans(opened, Grace(NOW, NOW)))
    lease = Lease(opened.storage, run.folder, [1])
    assert unused and lease.take() == ""
    assert delete(opened, unused, Grace(NOW, NOW)) == 0
    lease.give_up()
    assert delete(opened, list(orphans(opened, Grace(NOW, NOW))), Grace(NOW, NOW)) >= len(unused)


def test_maintenance_that_takes_longer_than_the_term_keeps_its_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, settings = lake_of(lake_sets("folder", tmp_path))
    run = Run(Numbers(100), opened, settings, KEY)
    work(run, plan(run).chunks[0])
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leases, "TERM_SECONDS", 1.0)
    monkeypatch.setattr(maintain, "move_epoch", lambda *_: time.sleep(1.5))
    unused = list(orphans(opened, Grace(NOW, NOW)))
    assert delete(opened, unused, Grace(NOW, NOW)) >= len(unused)


class Overtaken(Numbers):
    """Numbers of an attempt that finds its scratch files gone, after another has taken over or not."""

    def __init__(self, overtaken: bool) -> None:
        super().__init__(120)
        self.overtaken = overtaken

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        if self.overtaken:
            run.lake.storage.put(f"{run.folder}/leases/{chunk.index:05d}.json", b'{"holder": {}}')
        raise FileNotFoundError("clean-00000.parquet")
        yield


@pytest.mark.parametrize(("overtaken", "error"), [(True, Transient), (False, FileNotFoundError)])
def test_an_attempt_whose_files_were_cleared_away_says_that_another_took_over(
    tmp_path: Path, overtaken: bool, error: type[Exception]
) -> None:
    run = Run(Overtaken(overtaken), *lake_of(lake_sets("folder", tmp_path)), KEY)
    with pytest.raises(error, match="took over" if overtaken else "clean"):
        work(run, plan(run).chunks[0])
