"""Four machines with addresses of their own fetch two keys at once, and each host of the web sees one polite visitor.

`make nightly` asks for 64 chunks; two chunks on two machines are part of `make test`.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from kale_tasks.images.step import Images
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.settings import Settings
from tests.images.machines import network, seen, url
from tests.images.world import Pairs, pairs_of, settings
from tests.services.hosts import may_make_namespaces

CHUNKS = int(os.environ.get("FETCH_CHUNKS", "2"))
MACHINES, HOSTS, EACH = (4, 200, 150) if CHUNKS > 2 else (2, 10, 120)
RATE, WINDOW = (8, 30.0) if CHUNKS > 2 else (20, 3.0)  # requests a second, and the seconds over which they are counted
CONNECTIONS = 8
KEYS = ("2026-11-01", "2026-11-02")
ROOT = Path(__file__).parents[2]
T = TypeVar("T")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_machines_together_stay_within_the_limits_of_each_host_and_use_them(tmp_path: Path) -> None:
    if not may_make_namespaces():
        pytest.skip("needs the right to make network namespaces")
    of = _settings(tmp_path, 0)
    rng, zipf, log = np.random.default_rng(7), 1 / np.arange(1, HOSTS + 1), tmp_path / "web.log"
    lake = Lake(of)
    for first, key in enumerate(KEYS):
        hosts = rng.choice(HOSTS, EACH * CHUNKS // len(KEYS), p=zipf / zipf.sum())
        rows = pairs_of([url(int(host), first * 1_000_000 + number) for number, host in enumerate(hosts)])
        execute(Run(Pairs(rows), lake, of, key))
    per_key = CHUNKS // len(KEYS)
    assert all(len(plan(Run(Images(), lake, of, key)).chunks) == per_key for key in KEYS)
    with network(MACHINES, HOSTS, log) as machines:
        running = [
            subprocess.Popen(
                [*inside, sys.executable, "-m", "tests.images.test_machines", str(tmp_path), key, str(number)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for number, inside in enumerate(machines)
            for key in KEYS
            if _chunks(key, number, range(per_key))
        ]
        assert [process.wait() for process in running] == [0] * len(running)
    web = seen(log)
    for host, one in web.items():
        assert one.busiest(WINDOW) <= RATE * WINDOW * 1.05, host
        assert one.requests <= CONNECTIONS, host
        assert one.connections <= CONNECTIONS, host
        assert set(one.first.values()) == {"/robots.txt"}, f"{host}: the first request of each machine"
    busiest = max(web.values(), key=lambda one: len(one.times))
    used, seconds = busiest.busiest(WINDOW) / WINDOW, busiest.times[-1] - busiest.times[0]
    print(
        f"{MACHINES} machines, {len(KEYS)} keys, {CHUNKS} chunks, {len(web)} hosts, "
        f"{sum(len(one.times) for one in web.values())} requests. Most in {WINDOW:.0f} s to one host: "
        f"{max(one.busiest(WINDOW) for one in web.values())} of {RATE * WINDOW:.0f}; most requests at once "
        f"{max(one.requests for one in web.values())}, connections {max(one.connections for one in web.values())} of "
        f"{CONNECTIONS}; the busiest host was used to {used / RATE:.0%} then, to "
        f"{busiest.rate / RATE:.0%} over all {seconds:.0f} s."
    )
    assert busiest.rate >= 0.6 * RATE or CHUNKS == 2, "a short run is mostly its start"
    assert all(execute(Run(Images(), lake, of, key)).rows == EACH * per_key for key in KEYS)


def _settings(root: Path, machine: int) -> Settings:
    chunk = EACH // 2
    fetch = [f"host_rate={RATE}", f"host_concurrency={CONNECTIONS}", "allow=['10.77.0.0/16']", "patience_seconds=600"]
    sets = [f"images.fetch.{one}" for one in fetch]
    sets += [f"images.spool={root}/spool-{machine}", f"parts.part_rows={chunk}", f"parts.chunk_rows={EACH}"]
    return settings(root, *sets, "images.placeholder_count=1000000")


def _chunks(key: str, machine: int, chunks: Sequence[T]) -> Sequence[T]:
    """Return those chunks of a key that a machine works on."""
    return chunks[(machine - KEYS.index(key)) % MACHINES :: MACHINES]


def _work(root: str, key: str, machine: int) -> None:
    """Work on the chunks of a key that are this machine's, one after the other."""
    of = _settings(Path(root), machine)
    run = Run(Images(), Lake(of), of, key)
    for chunk in _chunks(key, machine, plan(run).chunks):
        work(run, chunk)


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
