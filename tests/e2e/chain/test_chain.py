"""The whole chain in a real Airflow: keys become a release in spite of kills; a second run makes nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from kale_tasks.captions.steps import find_spec
from kale_tasks.lake.tables import Lake
from kale_tasks.pending import pending_work
from kale_tasks.settings import load
from kale_tasks.world.demo.chain import Chain
from tests.e2e.chain.conftest import Stage
from tests.e2e.chain.kills import parts
from tests.e2e.chain.page import backfill_all_runs
from tests.e2e.chain.person import PAUSE, finish
from tests.services.server import wait_until

pytestmark = pytest.mark.timeout(1800)


def test_all_keys_become_a_release_in_spite_of_kills(made: Stage) -> None:
    lake = made.lake
    missing = pending_work(lake, made.settings)
    recipe = Path(made.settings.caption.recipe).stem
    missing |= missing["recipes"][recipe]
    assert not [what for what in ("images", "stage1", "stage2", "release") if missing[what]]
    assert missing["student"]
    wanted = {f"{key}/recipe={recipe}/stage={stage}" for key in made.keys for stage in (1, 2)}
    assert wanted <= {partition.name for partition in lake.partitions("captions")}
    assert list(Path(str(made.settings.publish.target)).rglob("*.parquet"))


def test_no_part_that_was_finished_before_a_kill_was_made_again(made: Stage) -> None:
    now = parts(Path(made.settings.warehouse))
    assert made.finished and {path: now.get(path) for path in made.finished} == made.finished


@pytest.mark.nightly
def test_the_rows_are_those_of_an_undisturbed_run(made: Stage, tmp_path: Path) -> None:
    environment, key = made.environment | {"KALE_WAREHOUSE": str(tmp_path)}, made.keys[0]
    lake = Lake(load(environ=environment).settings)
    compared = {"ingest": ["alt_text", "split"], "images": ["status", "reason", "sha256"], "dense": ["text"],
                "fuse": ["caption", "dense_caption"]}  # fmt: skip
    for name, columns in compared.items():
        step, command = find_spec(name, made.settings), [sys.executable, "-m", "kale_tasks", "run", name, "--key", key]
        subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
        rows = [_rows(of, step.table, key, step.slice, ["uid", *columns]) for of in (lake, made.lake)]
        assert rows[0] == rows[1] and rows[0], name


@pytest.mark.nightly
def test_all_runs_from_the_dialog_of_the_page_make_nothing_again(made: Stage, chromium: Browser) -> None:
    before, asked = _state(made.lake), len(made.web.seen)
    chain = Chain(made.airflow.rest, made.keys)
    backfill_all_runs(chromium, made.airflow, made.keys[0], made.keys[-1])
    finish(chain, made.person)
    assert _state(made.lake) == before
    assert len(made.web.seen) == asked
    assert {cell.key for cell in chain.cells() if cell.dag == "kale_stage1"} == set(made.keys)


def test_a_run_without_a_key_fails_at_once_and_says_what_to_do(made: Stage) -> None:
    rest = made.airflow.rest
    run = rest.send("POST", "/dags/kale_stage1/dagRuns", {"logical_date": None})["dag_run_id"]
    path = f"/dags/kale_stage1/dagRuns/{run}"
    wait_until(lambda: rest.get(path)["state"] == "failed", "the run to fail", 120, pause=PAUSE / 2)
    (plan,) = [t for t in rest.get(f"{path}/taskInstances")["task_instances"] if t["task_id"] == "dense.plan"]
    assert plan["try_number"] == 1
    log = rest.get(f"{path}/taskInstances/dense.plan/logs/1?full_content=true")
    assert "This run has no key" in str(log)


@pytest.mark.nightly
def test_a_day_without_landing_files_ends_as_skipped(made: Stage) -> None:
    rest = made.airflow.rest
    run = rest.send("POST", "/dags/kale_ingest/dagRuns", {"logical_date": None, "partition_key": "2026-10-01"})
    path = f"/dags/kale_ingest/dagRuns/{run['dag_run_id']}"
    wait_until(lambda: rest.get(path)["state"] == "success", "the run to end", 400, pause=PAUSE / 2)
    states = {t["task_id"]: t["state"] for t in rest.get(f"{path}/taskInstances")["task_instances"]}
    assert set(states.values()) == {"skipped"}


def _rows(lake: Lake, table: str, key: str, slice_: Any, columns: list[str]) -> list[dict[str, Any]]:
    rows = lake.arrow(table, key, columns, slice_=slice_).to_pylist()
    return sorted(rows, key=lambda row: row["uid"])


def _state(lake: Lake) -> dict[str, Any]:
    tables = ("pairs", "images", "texts", "captions", "models", "releases")
    work = lake.arrow("runs", columns=["step"], where="verb != 'dag'").num_rows
    return {name: [s.snapshot_id for s in lake.table(name).snapshots()] for name in tables} | {"work": work}
