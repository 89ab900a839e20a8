"""A conflict in the chain of tasks of a step, in a real Airflow: the Dag run starts and plans again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kale_tasks.airflow.standalone import StandaloneAirflow, free_port
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load
from kale_tasks.world.write import write_landing
from tests.services.server import wait_until

# Used as Python by Airflow: before its first commit, another person commits the key.
_FASTER = """#!{python}
import os, subprocess, sys
words, ran = sys.argv[1:], {ran!r}
if "commit" in words and not os.path.exists(ran):
    open(ran, "w").close()
    other = ["run", "images", "--key", {key!r}, "--again", "--request", "of another person"]
    subprocess.run([sys.executable, "-m", "kale_tasks", *other], check=True, stdout=subprocess.DEVNULL)
os.execv(sys.executable, [sys.executable, *words])
"""


@pytest.mark.nightly  # an Airflow of its own takes a minute
@pytest.mark.timeout(600)
def test_a_commit_that_comes_too_late_makes_the_dag_run_plan_again(tmp_path: Path) -> None:
    (key,) = write_landing(tmp_path / "landing", 1, 24, "http://127.0.0.1:9")
    python, ran = tmp_path / "python", tmp_path / "ran"
    python.write_text(_FASTER.format(python=sys.executable, ran=str(ran), key=key))
    python.chmod(0o755)
    environment = {
        "KALE_PROFILE": "demo",
        "KALE_LANDING": str(tmp_path / "landing"),
        "KALE_WAREHOUSE": str(tmp_path / "warehouse"),
        "KALE_IMAGES__FETCH__CONTACT": "tests@example.org",
        "KALE_IMAGES__FETCH__TRIES": "1",
        "KALE_QUALITY__LIMITS__YIELD_MIN": "0",  # no image can be fetched
        "KALE_QUALITY__LIMITS__UNREACHABLE_MAX": "1",
        "KALE_SCHEDULE__PYTHON": str(python),
        "KALE_SCHEDULE__RETRY_MINUTES": "0.05",
    }
    lake = Lake(load(environ=environment).settings)
    ingest = [sys.executable, "-m", "kale_tasks", "run", "ingest", "--key", key]
    subprocess.run(ingest, env={**os.environ, **environment}, check=True, capture_output=True)
    airflow = StandaloneAirflow(tmp_path / "airflow", environment, free_port())
    try:
        airflow.start()
        rest = airflow.rest
        rest.send("PATCH", "/dags/kale_images", {"is_paused": False})
        body = {"logical_date": None, "partition_key": key}
        path = f"/dags/kale_images/dagRuns/{rest.send('POST', '/dags/kale_images/dagRuns', body)['dag_run_id']}"
        wait_until(lambda: rest.get(path)["state"] in ("success", "failed"), "the end of the run", 400, pause=1)
        tasks = {t["task_id"]: t for t in rest.get(f"{path}/taskInstances")["task_instances"]}
        first = rest.get(f"{path}/taskInstances/images.commit/logs/1?full_content=true")
        state = rest.get(path)["state"]
    finally:
        airflow.stop()
    assert ran.exists() and "The Dag run starts again" in str(first)
    assert (state, tasks["images.commit"]["state"]) == ("success", "success")
    assert [tasks[f"images.{verb}"]["try_number"] for verb in ("plan", "seal", "check", "commit")] == [2] * 4
    committed = lake.committed("images", key)
    assert committed and "of another person" in committed.because and committed.rows_in > 10
