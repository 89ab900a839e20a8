"""Limits of hosts hold for all tasks together, and neither slow hosts nor finished parts stop the others."""

import asyncio
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kale_tasks.images.fetch_slot import FetchSlot
from kale_tasks.images.rate_limit import Alone, ByteBudget, HostLimit, HostQueues
from kale_tasks.images.reasons import ImageError
from kale_tasks.images.step import Images
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan
from kale_tasks.urls import registered_domain
from tests.images.fetchers import CONNECTIONS, RATE, limited
from tests.images.plain import plain_server
from tests.images.world import KEY, lake_with, pairs_of, settings

_PROCESSES, _EACH = 4, 60


def test_processes_together_stay_within_the_limits_of_a_host_and_use_them(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with plain_server() as server:
        commands = [
            [sys.executable, "-m", "tests.images.fetchers", str(tmp_path)]
            + [server.url(process * _EACH + i, "slowly") for i in range(_EACH)]
            for process in range(_PROCESSES)
        ]
        running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for command in commands]
        assert [int(process.communicate()[0]) for process in running] == [_EACH] * _PROCESSES
        times, together = sorted(server.times), server.together
    assert together <= CONNECTIONS
    busiest = max(sum(start <= t < start + 3 for t in times) for start in times)
    assert 3 * RATE * 0.6 <= busiest <= 3 * RATE * 1.05 + CONNECTIONS
    assert not list(tmp_path.glob("fetch-slots/slot-*")), "slots are given back"


def test_a_slot_of_a_dead_process_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kale_tasks.images.fetch_slot._LEASE_SECONDS", 1.5)
    storage = FolderStorage(str(tmp_path))
    storage.put("fetch-slots/slot-000", b"dead 1")
    began = time.monotonic()
    with FetchSlot(storage, 1) as slot:
        assert time.monotonic() - began >= 1.0
        assert slot.valid


def test_two_tasks_halve_the_limits_and_one_has_them_alone_again(tmp_path: Path) -> None:
    storage = FolderStorage(str(tmp_path))
    with FetchSlot(storage, 4) as first:
        assert (first.tasks, first.valid) == (1, True)
        with FetchSlot(storage, 4) as second:
            assert first.tasks == second.tasks == 2
        deadline = time.monotonic() + 20
        while first.tasks > 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_task_that_waited_knows_of_those_that_came_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kale_tasks.images.fetch_slot._SETTLE_SECONDS", 1.0)
    storage = FolderStorage(str(tmp_path))
    with FetchSlot(storage, 4), ThreadPoolExecutor() as pool:
        slots = [FetchSlot(storage, 4), FetchSlot(storage, 4)]
        waiting = pool.submit(slots[0].__enter__)
        time.sleep(0.5)
        later = pool.submit(slots[1].__enter__)
        try:
            assert waiting.result().tasks == 3
        finally:
            later.result()
            for slot in slots:
                slot.__exit__()


def test_a_host_that_asks_for_too_long_delays_is_given_up(tmp_path: Path) -> None:
    async def ask() -> None:
        host = HostLimit(limited(tmp_path), Alone())
        host.slow_down(60)
        async with host.slot():
            pass

    with pytest.raises(ImageError, match="60 s between two requests"):
        asyncio.run(ask())


def test_a_host_that_takes_too_much_time_is_given_up(tmp_path: Path) -> None:
    async def ask() -> None:
        host = HostLimit(limited(tmp_path).model_copy(update={"host_seconds": 0.1}), Alone())
        for _ in range(2):
            async with host.slot():
                await asyncio.sleep(0.15)

    with pytest.raises(ImageError, match="not done after"):
        asyncio.run(ask())


def test_a_slow_host_occupies_few_workers(tmp_path: Path) -> None:
    async def order() -> list[str]:
        queues, taken = HostQueues[int](2, 1000), list[str]()
        for number in range(100):
            await queues.put("slow", number)
        for number in range(20):
            await queues.put("fast", number)
        await queues.close()

        async def work() -> None:
            while found := await queues.take():
                host, _ = found
                await asyncio.sleep(0.05 if host == "slow" else 0)
                taken.append(str(host))
                await queues.done(host)

        await asyncio.gather(*(work() for _ in range(8)))
        return taken

    taken = asyncio.run(order())
    assert len(taken) == 120
    assert taken[:20].count("fast") >= 18


def test_bodies_that_grow_stay_within_the_budget_and_all_end() -> None:
    async def read() -> int:
        budget, most = ByteBudget(100, 40), 0

        async def body() -> None:
            nonlocal most
            async with budget.hold(10) as held:
                await asyncio.sleep(0)
                await held.grow(40)
                most = max(most, 100 - budget._free)
                await asyncio.sleep(0.001)

        await asyncio.wait_for(asyncio.gather(*(body() for _ in range(50))), 20)
        assert budget._free == 100
        return most

    assert 40 <= asyncio.run(read()) <= 100


def test_fetching_goes_on_while_a_part_is_finished(tmp_path: Path) -> None:
    with plain_server() as server:
        of = settings(tmp_path)
        lake = lake_with(of, pairs_of([server.url(i) for i in range(300)]))
        run = Run(Images(), lake, of, KEY)
        (chunk,) = plan(run).chunks
        parts = Images().work(run, chunk, chunk.numbers)
        next(parts)
        deadline = time.monotonic() + 60
        while server.pictures < 300:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(list(parts)) == 2


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("img1.example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("a.example.de", "example.de"),
        ("WWW.Example.COM.", "example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_hosts_of_one_owner_share_their_limits(host: str, domain: str) -> None:
    assert registered_domain(host) == domain
