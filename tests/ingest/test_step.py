"""The step as a whole: no row is lost, nothing is done twice, and all engines and stores make the same rows."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import Conflict
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.receipts import withdraw
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit, plan, work
from kale_tasks.settings import Settings
from tests.ingest.world import KEY, balanced, ingest, kept, land, land_lines, pair, settings_for
from tests.lakes import lake_sets
from tests.services.server import wait_until
from tests.services.spark import SparkCluster

# Duplicates of every kind and rows that rules drop.
MIXED = [
    *(pair(n, sha256=f"{n % 150:064x}", similarity=n % 7 / 10) for n in range(200)),
    *(pair(n, text=pair(n)["text"].upper() + "!") for n in range(0, 60, 3)),
    *({**pair(n), "url": pair(n)["url"] + f"?{n}"} for n in range(60, 80)),
    *(pair(300 + n, text="The same old story of a harbour") for n in range(12)),
    *(pair(400 + n, text="IMG_2034.jpg") for n in range(5)),
]
SIDES = ("pairs", "dedup_index", "quarantine")


def land_mixed(landing: Path) -> None:
    """Write the landing files of two keys, one of which is broken."""
    for number in range(2):
        land_lines(landing, MIXED[number::3], "k1", f"{number}")
    land_lines(landing, [*MIXED[2::3], *MIXED[:40]], "k2")
    (landing / "k1" / "9.parquet").write_bytes(b"torn")


def test_parts_are_in_uid_order_and_account_for_all_their_rows(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n, text=None if n % 10 else "logo") for n in range(300)])
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    uids = Lake(settings).arrow("pairs", KEY)["uid"].to_pylist()
    assert (committed.parts, committed.rows_in, committed.dropped) == (6, 300, {"placeholder_text": 30})
    assert uids == sorted(set(uids)) and len(uids) == 270


def test_a_late_or_changed_file_replaces_the_key(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(tmp_path / "landing", [pair(1)])
    (first,) = ingest(settings)
    land(tmp_path / "landing", [pair(2)], name="late")
    (second,) = ingest(settings)
    land(tmp_path / "landing", [pair(3)], name="late")
    (third,) = ingest(settings)
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == 3
    assert {row["url"] for row in kept(settings)} == {pair(1)["url"], pair(3)["url"]}


def test_only_missing_parts_are_made_again(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n) for n in range(200)])
    settings = settings_for(tmp_path)
    lake = Lake(settings)
    run = Run(Ingest(), lake, settings, KEY)
    made = plan(run)
    (chunk,) = made.chunks
    whole = work(run, chunk)
    withdraw(lake.storage, run.folder, 2)
    again = work(run, chunk)
    assert [meta.number for meta in again] == [2]
    assert again[0] == whole[[meta.number for meta in whole].index(2)]
    assert commit(run, made).rows == 200
    assert not list(lake.storage.entries(f"{run.folder}/scratch"))


def test_an_attempt_whose_scratch_files_another_one_deleted_ends_with_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(tmp_path / "landing", [pair(n) for n in range(50)])
    settings = settings_for(tmp_path)
    run = Run(Ingest(), Lake(settings), settings, KEY)
    made = plan(run)

    def finish_elsewhere(*_: object) -> None:
        for entry in list(run.lake.storage.entries(f"{run.folder}/scratch")):
            run.lake.storage.delete(entry.path)

    monkeypatch.setattr("kale_tasks.ingest.step.decide", finish_elsewhere)
    with pytest.raises(Conflict, match="Another process has finished"):
        work(run, made.chunks[0])


def test_a_file_that_changed_for_a_moment_leaves_no_rows(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1)])
    settings = settings_for(tmp_path)
    run = Run(Ingest(), Lake(settings), settings, KEY)
    made = plan(run)
    land(tmp_path / "landing", [pair(2)])
    with pytest.raises(Conflict, match="have changed"):
        work(run, made.chunks[0])
    land(tmp_path / "landing", [pair(1)])
    work(run, made.chunks[0])
    commit(run, made)
    assert [row["url"] for row in kept(settings)] == [pair(1)["url"]]


@pytest.mark.parametrize(("before", "after"), [(10, 40), (40, 10)])
def test_other_pieces_in_the_next_try_lose_and_double_nothing(tmp_path: Path, before: int, after: int) -> None:
    rows = pa.Table.from_pylist([pair(n) for n in range(120)])
    folder = tmp_path / "landing" / KEY
    folder.mkdir(parents=True)
    pq.write_table(rows, folder / "rows.parquet", row_group_size=10)
    first = settings_for(tmp_path, f"ingest.piece_rows={before}")
    killed = Run(Ingest(), Lake(first), first, KEY)
    made = plan(killed)
    with pytest.raises(KeyboardInterrupt), patch("kale_tasks.ingest.step.decide", side_effect=KeyboardInterrupt):
        work(killed, made.chunks[0])  # ended after the scan: cleaned pieces are left behind
    (committed,) = ingest(settings_for(tmp_path, f"ingest.piece_rows={after}"))
    assert committed.fingerprint == killed.fingerprint
    assert (committed.rows_in, committed.rows) == (120, 120)
    assert len({row["uid"] for row in kept(first)}) == 120


def test_a_landing_that_changes_during_a_run_is_a_conflict(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1)], "k1")
    settings = settings_for(tmp_path)
    run = Run(Ingest(), Lake(settings), settings, "k1")
    made = plan(run)
    land(tmp_path / "landing", [pair(1), pair(2)], "k1")
    with pytest.raises(Conflict, match="Run k1 again"):
        work(run, made.chunks[0])


def test_splits_have_the_configured_shares(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n) for n in range(2000)])
    settings = settings_for(tmp_path, "ingest.part_rows=1000", "ingest.split.holdout=0.1", "ingest.split.stage1=0.3")
    ingest(settings)
    found = [row["split"] for row in kept(settings)]
    shares = {split: found.count(split) / len(found) for split in ("holdout", "stage1", "stage2")}
    assert shares == pytest.approx({"holdout": 0.1, "stage1": 0.3, "stage2": 0.6}, abs=0.03)


def contents(settings: Settings) -> list[str]:
    """Ingest both keys and return their contents."""
    found = ingest(settings, "k1", "k2")
    assert all(balanced(committed) for committed in found)
    return [committed.content for committed in found]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with the landing files of two keys of mixed rows."""
    land_mixed(tmp_path / "landing")
    return tmp_path


def on_spark(master: str, **conf: str) -> list[str]:
    """Return settings for a small Spark that starts fast."""
    quick = {
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.codegen.wholeStage": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    return ["ingest.engine=spark", f"ingest.spark.master={master}", f"ingest.spark.conf={json.dumps(quick | conf)}"]


@pytest.mark.timeout(900)
def test_spark_and_duckdb_make_the_same_bytes(mixed: Path) -> None:
    spark = settings_for(mixed, f"warehouse={mixed}/spark", *on_spark("local[2]"))
    duckdb = settings_for(mixed, "ingest.piece_rows=50", "ingest.workers=2")
    assert contents(spark) == contents(duckdb)
    # Names of files have a hash of their bytes.
    names = [[file.path for table in SIDES for file in Lake(of).files(table)] for of in (spark, duckdb)]
    assert names[0] == names[1] and {name.partition("/")[0] for name in names[0]} == set(SIDES)


@pytest.mark.usefixtures("s3", "postgres")
def test_s3_and_a_folder_hold_the_same_rows(mixed: Path, request: pytest.FixtureRequest) -> None:
    sets = lake_sets("s3", mixed, request)
    bucket = next(s for s in sets if s.startswith("warehouse=")).removeprefix("warehouse=").removesuffix("/lake")
    far = settings_for(mixed, *sets, f"landing={bucket}/landing", "ingest.part_rows=50")
    storage = Lake(far).storage
    for path in sorted((mixed / "landing").rglob("*.*")):
        name = f"landing/{path.relative_to(mixed / 'landing')}"
        storage.client.put_object(Bucket=storage.bucket, Key=name, Body=path.read_bytes())  # type: ignore[attr-defined]
    assert contents(far) == contents(settings_for(mixed))


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_cluster_that_loses_a_worker_makes_the_same_rows(mixed: Path, spark_cluster: SparkCluster) -> None:
    cluster = on_spark(spark_cluster.url, **{"spark.executor.memory": "512m"})
    settings = settings_for(mixed, f"warehouse={mixed}/cluster", *cluster)
    killed = _kill_once(spark_cluster, mixed / "cluster" / "pairs")
    assert contents(settings) == contents(settings_for(mixed))
    killed.join()
    assert sum(worker.is_alive() for worker in spark_cluster.workers) == 1


def _kill_once(cluster: SparkCluster, tables: Path) -> Thread:
    """Kill the first worker as soon as the run has written its first intermediate table."""

    def watch() -> None:
        wait_until(lambda: any(tables.rglob("scratch/decisions-*")), "the decisions on the rows", seconds=600)
        cluster.workers[0].kill()

    thread = Thread(target=watch)
    thread.start()
    return thread


def test_no_worker_survives_a_main_process_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / KEY
    folder.mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([pair(n) for n in range(60_000)]), folder / "rows.parquet", row_group_size=5_000
    )
    sets = [
        "ingest.piece_rows=5000",
        "ingest.workers=2",
        "ingest.lists.evaluation=null",
        f"landing={tmp_path / 'landing'}",
        f"warehouse={tmp_path / 'lake'}",
    ]
    command = [sys.executable, "-m", "kale_tasks", "run", "ingest", "--key", KEY, *(f"--set={text}" for text in sets)]
    Lake(settings_for(tmp_path), create=True)
    main = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    workers = wait_for(lambda: psutil.Process(main.pid).children(recursive=True)[2:], 60)  # a tracker and two workers
    everyone = psutil.Process(main.pid).children(recursive=True)
    assert workers
    main.kill()
    main.wait()
    gone, alive = psutil.wait_procs(everyone, timeout=30)
    assert len(gone) == len(everyone) and not alive


def wait_for(found: Callable[[], list[Any]], seconds: float) -> list[Any]:
    """What is found once something is, within this time."""
    until = time.monotonic() + seconds
    while not (known := found()) and time.monotonic() < until:
        time.sleep(0.05)
    return known
