"""What the scheduler tells of Dag runs: one line of the ledger each, and nothing that could hold the scheduler up."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from airflow.models.base import Base
from airflow.models.dagrun import DagRun as AirflowRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from kale_tasks.airflow import listener
from kale_tasks.airflow.dag_parts import schedule
from kale_tasks.cli.app import maintain as upkeep
from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.committed import find
from kale_tasks.quality.cost import efforts
from kale_tasks.runner import dag_runs
from kale_tasks.runner.dag_runs import DagRun, note
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from kale_tasks.world.demo.results import result_tables
from tests.dags.test_dags import HEAVY
from tests.kale import kale
from tests.lakes import lake_of, lake_sets
from tests.services.server import wait_until
from tests.steps import Numbers

KEY, BEGAN = "2026-11-01", datetime(2026, 11, 2, tzinfo=UTC)
ENDED = DagRun(
    "kale_images", "by_hand", KEY, "success", "2026-11-02T00:00:00+00:00", "2026-11-02T00:00:09+00:00",
    "2026-11-02T00:01:03+00:00", 8, 2, 0, "rest_api", "ann",
)  # fmt: skip


def lines(lake: Lake, key: str = KEY) -> list[dict[str, Any]]:
    return lake.arrow("runs", key, where="verb = 'dag'").to_pylist()


def test_a_line_says_what_ran_how_it_ended_and_who_asked(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    note(lake, ENDED)
    (line,) = lines(lake)
    assert (line["step"], line["seconds"], line["attempt"]) == ("kale_images", 63, 1)
    assert json.loads(line["metrics"]) == {"seconds_queued": 9, "tasks": 8, "tries_again": 2}
    assert json.loads(line["config"]) == {"run": "by_hand", "state": "success", "by": "rest_api", "user": "ann"}


def test_runs_that_end_at_once_all_get_their_lines(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    lake, _ = lake_of(sets)
    note(lake, ENDED)
    runs = [replace(ENDED, run=f"run {number}") for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda run: note(lake_of(sets)[0], run), runs))
    names = [json.loads(line["config"])["run"] for line in lines(lake)]
    assert sorted(names) == sorted([ENDED.run, *(run.run for run in runs)])


def test_a_run_whose_ledger_stays_busy_does_not_cost_the_others_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    runs = [replace(ENDED, run=name, key=key) for name, key in (("first", "2026-11-02"), ("second", KEY))]
    fold = dag_runs.fold
    monkeypatch.setattr(dag_runs, "_PAUSE", 0)
    monkeypatch.setattr(dag_runs, "fold", lambda lake, key, *rest: fold(lake, key, *rest) if key == KEY else busy())
    monkeypatch.setattr(upkeep, "settings", lambda _: settings)
    monkeypatch.setattr(sys, "stdin", StringIO("\n".join(json.dumps(asdict(run)) for run in runs)))
    with pytest.raises(Conflict, match=r"kale_images first is missing in the ledger of 2026-11-02"):
        upkeep.note()
    assert [json.loads(line["config"])["run"] for line in lines(lake)] == ["second"]


def busy() -> None:
    raise Conflict("another was faster")


def test_a_run_reported_twice_has_one_line_and_one_that_was_cleared_a_line_for_each_end(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    cleared = replace(ENDED, clears=1, state="failed")
    for run in (ENDED, ENDED, cleared, ENDED, cleared):
        note(lake, run)
    assert sorted(json.loads(line["config"])["state"] for line in lines(lake)) == ["failed", "success"]


@pytest.mark.parametrize("key", [None, "../elsewhere", "x" * 100])
def test_what_is_about_no_key_is_noted_under_all(tmp_path: Path, key: str | None) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    note(lake, replace(ENDED, key=key))
    assert len(lines(lake, "all")) == 1


def test_the_history_of_a_key_shows_its_dag_runs_and_no_sum_counts_them_as_work(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    lake, settings = lake_of(sets)
    execute(Run(Numbers(20), lake, settings, KEY))
    before = efforts(lake, KEY, find(lake, KEY))
    note(lake, ENDED)
    assert efforts(lake, KEY, find(lake, KEY)) == before
    assert list(result_tables(lake, settings, []))[-1].row_count == 1
    shown = kale("history", "--key", KEY, sets=sets).out
    assert "kale_images" in shown
    assert "success after 63 s, 9 of them queued; 8 tasks, 2 tries again; by rest_api (ann)" in shown


@pytest.fixture
def session() -> Iterator[Session]:
    """Airflow's own tables, as its scheduler has them in hand."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the lake of this process is."""
    monkeypatch.setenv("KALE_WAREHOUSE", str(tmp_path / "lake"))
    schedule.cache_clear()
    yield tmp_path
    schedule.cache_clear()


def ended(session: Session, dag: str, run: str, tries: tuple[int, ...] = (1,)) -> AirflowRun:
    """A run that has just ended, its tasks after `tries` attempts; the scheduler has not committed that yet."""
    made = AirflowRun(
        dag_id=dag, run_id=run, run_type=DagRunType.MANUAL, state=DagRunState.SUCCESS, start_date=BEGAN,
        queued_at=BEGAN - timedelta(seconds=9), triggered_by=DagRunTriggeredByType.UI, partition_key=KEY,
        triggering_user_name="ann",
    )  # fmt: skip
    made.end_date = BEGAN + timedelta(seconds=54)
    session.add(made)
    session.flush()
    for index, number in enumerate(tries):
        task = {"task_id": "work", "dag_id": dag, "run_id": run, "map_index": index, "try_number": number, "pool": "p"}
        session.execute(insert(TaskInstance).values(task))
    return made


def test_the_listener_records_our_runs_and_no_others(session: Session, place: Path) -> None:
    listener.on_dag_run_success(ended(session, "elsewhere", "theirs"))
    listener.on_dag_run_success(ended(session, "kale_images", "ours", tries=(1, 3, 0)))
    lake = Lake(load().settings)
    wait_until(lambda: bool(lines(lake)), "the line")
    (line,) = lines(lake)
    assert (line["step"], line["seconds"]) == ("kale_images", 63)
    assert json.loads(line["metrics"]) == {"seconds_queued": 9, "tasks": 3, "tries_again": 2}
    assert json.loads(line["config"]) == {"run": "ours", "state": "success", "by": "ui", "user": "ann"}


def test_a_lake_that_hangs_or_fails_holds_up_nothing(
    session: Session, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = place / "slow"
    slow.write_text(f"#!/bin/sh\ntouch {place}/began\nsleep 1\necho 'kale: no such lake' >&2\nexit 4\n")
    slow.chmod(0o755)
    monkeypatch.setenv("KALE_SCHEDULE__PYTHON", str(slow))
    listener.on_dag_run_failed(ended(session, "kale_images", "lost"))
    wait_until((place / "began").exists, "the attempt")
    monkeypatch.setenv("KALE_SCHEDULE__PYTHON", sys.executable)
    schedule.cache_clear()
    start = time.monotonic()
    for number in range(20):
        listener.on_dag_run_failed(ended(session, "kale_images", f"run_{number}"))
    assert time.monotonic() - start < 5  # one that waited for the lake would take a second each
    wait_until(lambda: "no such lake" in caplog.text, "the warning")
    lake = Lake(load().settings)
    wait_until(lambda: len(lines(lake)) == 20, "the runs that ended meanwhile")


def test_the_plugin_loads_nothing_heavy() -> None:
    plugin = Path(__file__).parents[2] / "plugins" / "kale_plugin.py"
    code = f"import runpy, sys; runpy.run_path({str(plugin)!r}); print(*{set(HEAVY)!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
