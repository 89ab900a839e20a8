"""The whole chain in a real Airflow: three keys to a release, through kills; and again, with nothing left to make."""

from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser

from kale_tasks.config import load
from kale_tasks.demo.chain import Chain
from kale_tasks.lake.lake import Lake
from kale_tasks.run import Run, execute
from kale_tasks.steps import find
from kale_tasks.todo import todo
from tests.e2e.conftest import Stage
from tests.e2e.page import backfill_all_runs
from tests.services.server import wait_until

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def made(stage: Stage) -> Stage:
    """The chain after its first pass, in which a work process and then the scheduler were killed."""
    chain = stage.begin()
    _wait_for_work(stage, "ingest").kill()
    command = _wait_for_work(stage, "dense")
    stage.airflow.kill("scheduler")
    wait_until(lambda: not command.is_running(), "the command to end with its task", 30)
    stage.airflow.start_component("scheduler")
    stage.finish(chain)
    return stage


def test_three_keys_come_to_a_release_through_kills(made: Stage) -> None:
    lake = made.lake
    missing = todo(lake, made.settings)
    assert {what: missing[what] for what in ("images", "stage1", "stage2", "release")} == {
        "images": [],
        "stage1": [],
        "stage2": [],
        "release": [],
    }
    assert missing["student"]
    for key in made.keys:
        assert {f"{key}/stage=1", f"{key}/stage=2"} <= set(lake.partitions("captions"))
    assert list(Path(str(made.settings.publish.target)).rglob("*.parquet"))


def test_the_rows_are_those_of_an_undisturbed_run(made: Stage, tmp_path: Path) -> None:
    settings = load(environ=_kale(made) | {"KALE_WAREHOUSE": str(tmp_path)}).settings
    lake, key = Lake(settings), made.keys[0]
    for name in ("ingest", "images", "dense", "fuse"):
        step = find(name)
        plain = execute(Run(step, lake, settings, key))
        through_airflow = made.lake.committed(step.table, key, step.slice)
        assert through_airflow and through_airflow.content == plain.content, name


def test_all_runs_from_the_dialog_of_the_page_make_nothing_anew(made: Stage, chromium: Browser) -> None:
    before = _state(made.lake)
    chain = Chain(made.airflow.rest, made.keys)
    backfill_all_runs(chromium, made.airflow, made.keys[0], made.keys[-1])
    made.finish(chain)
    assert _state(made.lake) == before
    assert {cell.key for cell in chain.look() if cell.dag == "kale_stage1"} == set(made.keys)


def test_a_run_without_a_key_fails_at_once_and_says_what_to_do(made: Stage) -> None:
    rest = made.airflow.rest
    run = rest.send("POST", "/dags/kale_stage1/dagRuns", {"logical_date": None})["dag_run_id"]
    path = f"/dags/kale_stage1/dagRuns/{run}"
    wait_until(lambda: rest.get(path)["state"] == "failed", "the run to fail", 120)
    (plan,) = [t for t in rest.get(f"{path}/taskInstances")["task_instances"] if t["task_id"] == "dense.plan"]
    assert plan["try_number"] == 1
    log = rest.get(f"{path}/taskInstances/dense.plan/logs/1?full_content=true")
    assert "This run has no key" in str(log)


def test_a_day_without_landing_files_ends_as_skipped(made: Stage) -> None:
    rest = made.airflow.rest
    run = rest.send("POST", "/dags/kale_ingest/dagRuns", {"logical_date": None, "partition_key": "2026-10-01"})
    path = f"/dags/kale_ingest/dagRuns/{run['dag_run_id']}"
    wait_until(lambda: rest.get(path)["state"] == "success", "the run to end", 400)
    states = {t["task_id"]: t["state"] for t in rest.get(f"{path}/taskInstances")["task_instances"]}
    assert set(states.values()) == {"skipped"}


def _wait_for_work(stage: Stage, step: str) -> psutil.Process:
    found: list[psutil.Process] = []

    def works() -> bool:
        found[:] = [p for p in _commands(stage) if _line(p)[3:5] == ["work", step]]
        return bool(found)

    wait_until(works, f"work on {step}", 600)
    return found[0]


def _commands(stage: Stage) -> list[psutil.Process]:
    tasks = psutil.Process(stage.airflow.groups["scheduler"].pid).children(recursive=True)
    return [p for p in tasks if "kale_tasks.airflow.child" in _line(p)]


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def _kale(stage: Stage) -> dict[str, str]:
    return {name: value for name, value in stage.environment.items() if name.startswith("KALE_")}


def _state(lake: Lake) -> dict[str, Any]:
    tables = ("pairs", "images", "dense", "captions", "models", "releases", "runs")
    return {name: [s.snapshot_id for s in lake.table(name).snapshots()] for name in tables}
