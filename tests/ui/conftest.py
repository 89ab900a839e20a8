"""A real Airflow api-server with the pages, two users, one Dag run, and a lake with stored reports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_run
from kale_tasks.quality.release_report import make_release_report
from kale_tasks.quality.report import make_report
from kale_tasks.release.shards import release_name
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.quality.world import STEPS, World, commit, commit_student, open_world
from tests.services.server import free_port

ROOT = Path(__file__).parents[2]
KEY, SECOND_KEY, FAILED_KEY = "2026-11-01", "2026-11-02", "2026-11-03"
RUN = "by_hand"
# Dags with the names of ours that do nothing: the pages start them, and ask for the rights on them.
_DAG = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

with DAG("kale_quality_report", schedule=PartitionedAssetTimetable(assets=Asset("captions"))):
    EmptyOperator(task_id="report")
for name in ("ingest", "images", "stage1", "stage2", "distill", "release", "takedown", "canary"):
    by_hand = name in ("takedown", "canary")
    with DAG(f"kale_{name}", schedule=None if by_hand else PartitionedAssetTimetable(assets=Asset(name))):
        EmptyOperator(task_id="work")
"""


@dataclass(frozen=True)
class Airflow:
    """Address and passwords of the server."""

    url: str
    passwords: dict[str, str]

    def client(self, user: str | None) -> httpx.Client:
        """Make a client that is logged in as a user, or not at all."""
        return httpx.Client(base_url=self.url, timeout=60, headers=self._token(user) if user else {})

    def _token(self, user: str) -> dict[str, str]:
        login = {"username": user, "password": self.passwords[user]}
        answer = httpx.post(f"{self.url}/auth/token", json=login, timeout=60).json()
        return {"Authorization": f"Bearer {answer['access_token']}"}


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with reports on two whole keys, on a key that failed its first check, and on two releases."""
    lake = open_world(tmp_path_factory.mktemp("ui"))
    commit_student(lake)
    for key in (KEY, SECOND_KEY):
        for step in STEPS:
            commit(lake, World(key, pairs=120), step, _spoil if key == KEY else list)
            if key == SECOND_KEY or step in ("ingest", "images"):  # the hostile captions would rightly fail
                check_run(lake, lake.settings, step, key)
        make_report(lake, lake.settings, key)
        run = Run(Release(), lake, lake.settings, key)
        execute(run)
        make_release_report(lake, lake.settings, release_name(run.key, run.fingerprint))
    commit(lake, World(FAILED_KEY, pairs=120), "ingest", lambda rows: rows + rows[:1])
    with pytest.raises(BadData):
        check_run(lake, lake.settings, "ingest", FAILED_KEY)
    make_report(lake, lake.settings, FAILED_KEY)
    return lake


def _spoil(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [rows[0] | _hostile(rows[0]), *rows[1:]]


@pytest.fixture(scope="session")
def airflow(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """The running server."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags" / "report.py").write_text(_DAG)
    passwords = {"admin": "the admin's", "viewer": "the viewer's"}
    (home / "passwords.json").write_text(json.dumps(passwords))
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret that is long enough for these tests and for nothing else, surely",
        "KALE_WAREHOUSE": lake.settings.warehouse,
        "KALE_LANDING": lake.settings.landing,
    }
    command = [sys.executable, "-m", "airflow"]
    for prepare in (["db", "migrate"], ["dags", "reserialize"]):
        subprocess.run([*command, *prepare], env=environment, check=True, capture_output=True)
    port = free_port()
    log = (home / "server.log").open("wb")
    serve = [*command, "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(serve, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        made = Airflow(f"http://127.0.0.1:{port}", passwords)
        _wait(made, home / "server.log")
        _start_run(made)
        yield made
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _hostile(row: dict[str, object]) -> dict[str, object]:
    script = "<script>document.title='broken in'</script><img src=x onerror=alert(1)> at the gate"
    return {name: script for name in ("alt_text", "text", "dense_caption", "caption") if row.get(name)}


def _wait(airflow: Airflow, log: Path) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{airflow.url}/api/v2/version", timeout=60).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError(log.read_text()[-2000:])


def _start_run(airflow: Airflow) -> None:
    with airflow.client("admin") as client:
        run = {"dag_run_id": RUN, "partition_key": KEY, "logical_date": None}
        answer = client.post("/api/v2/dags/kale_quality_report/dagRuns", json=run)
        assert answer.is_success, answer.text
