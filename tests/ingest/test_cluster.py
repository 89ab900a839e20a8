"""Spark on a cluster of hosts with addresses of their own, one of which is lost in the middle, and DuckDB beside it.

`CLUSTER_ROWS=10000000 .venv/bin/pytest -n 0 -s tests/ingest/test_cluster.py` takes ten million rows.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings
from tests.ingest.world import settings_for
from tests.services.hosts import Host, hosts, may_make_namespaces
from tests.services.server import Server, server_folder, wait_until
from tests.services.spark import daemon

ROWS, GROUP = int(os.environ.get("CLUSTER_ROWS", "1000000")), 50_000
KEYS = ("k1", "k2")
WORKERS, PORT = 3, 7077
ROOT = Path(__file__).parents[2]


@pytest.mark.nightly
@pytest.mark.timeout(14_400)
def test_a_cluster_of_hosts_that_loses_one_makes_the_bytes_of_duckdb(tmp_path: Path) -> None:
    if not may_make_namespaces():
        pytest.skip("needs the right to make network namespaces")
    for number, key in enumerate(KEYS):
        _land(tmp_path / "landing" / key, number * (ROWS - ROWS // 20), ROWS // 10 if number else ROWS)
    alone = settings_for(tmp_path, "ingest.workers=2", *_sizes(), "ingest.engine=duckdb")
    before = time.monotonic()
    peak = {"duckdb": _run([], alone)["driver"]}
    seconds = {"duckdb": time.monotonic() - before}
    spread = settings_for(tmp_path, f"warehouse={tmp_path}/cluster", *_sizes(), "ingest.engine=spark")
    with hosts(WORKERS + 1) as machines, server_folder("cluster") as folder, _cluster(machines, folder) as workers:
        lost = Thread(target=_lose, args=(workers[-1], tmp_path / "cluster" / "pairs"))
        lost.start()
        before = time.monotonic()
        conf = _conf(machines[0].address)
        peak |= _run([*machines[0].inside], spread, {f"worker {n}": w for n, w in enumerate(workers)}, conf)
        seconds["spark"] = time.monotonic() - before
        lost.join()
        assert [worker.is_alive() for worker in workers] == [True] * (WORKERS - 1) + [False]
    print(f"{ROWS:,} and {ROWS // 10:,} rows, {WORKERS} workers on hosts of their own, one lost. Seconds: {seconds}.")
    print("Peak memory of all processes in MB:", {name: round(most) for name, most in peak.items()})
    contents = [[Lake(of).committed("pairs", key) for key in KEYS] for of in (alone, spread)]
    assert [c and c.content for c in contents[0]] == [c and c.content for c in contents[1]]
    assert all(c and 0 < c.rows < c.rows_in for c in contents[0])


def _land(folder: Path, first: int, rows: int) -> None:
    """Write rows, of which one in ten is a copy of another, and one in thirty has no URL."""
    folder.mkdir(parents=True)
    with pq.ParquetWriter(folder / "rows.parquet", pa.schema({"url": pa.string(), "text": pa.string()})) as out:
        for start in range(first, first + rows, GROUP):
            numbers = range(start, min(start + GROUP, first + rows))
            urls = [f"https://p.example/{n}.jpg" if n % 30 else "" for n in numbers]
            texts = [_text(n) if n % 10 else f"{_text(n - n % 7 - 1).upper()}!" for n in numbers]
            out.write_table(pa.table({"url": urls, "text": texts}), row_group_size=GROUP)


def _text(number: int) -> str:
    return f"View {number % 977} of the harbour at {_name(number)} from the {_name(number // 3 + 5)} tower in the rain"


def _name(number: int) -> str:
    mixed = number * 2_654_435_761 % (1 << 32)
    return "".join("bdfgklmnprstvz"[mixed >> 4 * i & 7] + "aeiou"[(mixed >> 4 * i) % 5] for i in range(4)).title()


def _sizes() -> list[str]:
    rows = min(20_000, ROWS // 20)
    return [f"ingest.part_rows={rows}", f"ingest.piece_rows={GROUP}", "ingest.rules.max_text_urls=null"]


def _conf(driver: str) -> dict[str, str]:
    few = {"spark.sql.shuffle.partitions": "3"} if ROWS < GROUP else {}
    return few | {
        "spark.driver.host": driver,
        "spark.driver.bindAddress": driver,
        "spark.executor.memory": "1g",
        "spark.executor.cores": "1",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",
        "spark.executor.extraJavaOptions": "-XX:+UseSerialGC",
    }


def _run(
    inside: list[str],
    settings: Settings,
    workers: dict[str, Server] | None = None,
    conf: dict[str, str] | None = None,
) -> dict[str, float]:
    """Ingest both keys in a process of their own, and return the most memory of it and of each worker."""
    sets = [f"warehouse={settings.warehouse}", f"ingest.engine={settings.ingest.engine}", *_sizes()]
    if conf:
        sets += [f"ingest.spark.master=spark://{conf['spark.driver.host']}:{PORT}"]
        sets += [f"ingest.spark.conf={conf}".replace("'", '"')]
    command = [*inside, sys.executable, "-m", "tests.ingest.test_cluster", str(Path(settings.landing).parent), *sets]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
    watched: dict[str, Callable[[], int | None]] = {"driver": lambda: process.pid}
    watched |= {name: lambda w=worker: w.pid for name, worker in (workers or {}).items()}  # type: ignore[misc]
    peak = dict.fromkeys(watched, 0.0)
    while process.poll() is None:
        for name, pid in watched.items():
            peak[name] = max(peak[name], _memory(pid()))
        time.sleep(1)
    assert process.returncode == 0
    return peak


def _memory(pid: int | None) -> float:
    """Return what a process and all below it hold, in MB; shared pages count once."""
    held = 0.0
    with suppress(psutil.NoSuchProcess):
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else ():
            with suppress(psutil.Error, OSError):
                held += one.memory_full_info().pss / 1e6
    return held


@contextmanager
def _cluster(machines: list[Host], folder: Path) -> Iterator[list[Server]]:
    """Start a master on the first host and a worker on each other one."""
    master = machines[0].address
    with ExitStack() as stack:
        arguments = ["master.Master", "--host", master, "--port", str(PORT), "--webui-port", "8080"]
        log = folder / "master" / "log"
        stack.enter_context(
            _on(machines[0], arguments, folder / "master", lambda: "New state: ALIVE" in log.read_text())
        )
        workers = []
        for number, machine in enumerate(machines[1:]):
            own = ["worker.Worker", "--host", machine.address, "--cores", "1", "--memory", "2g"]
            server = _on(machine, [*own, f"spark://{master}:{PORT}"], folder / f"worker-{number}", lambda: True)
            workers.append(stack.enter_context(server))
        wait_until(lambda: log.read_text().count("Registering worker") == WORKERS, "the workers", seconds=120)
        yield workers


def _on(machine: Host, arguments: list[str], folder: Path, ready: Callable[[], bool]) -> Server:
    return daemon(arguments, folder, ready, address=machine.address, inside=machine.inside)


def _lose(worker: Server, tables: Path) -> None:
    """Kill a worker as soon as the first run has written its first intermediate table."""
    wait_until(lambda: any(tables.rglob("scratch/decisions-*")), "the decisions on the rows", seconds=7200)
    worker.kill()


if __name__ == "__main__":
    from tests.ingest.world import ingest

    ingest(settings_for(Path(sys.argv[1]), *sys.argv[2:]), *KEYS)
