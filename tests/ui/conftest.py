"""A real Airflow api-server with our pages, two users, one Dag run, and a lake with stored reports."""

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

from kale_tasks.lake.tables import Lake
from kale_tasks.quality.gate import gate
from kale_tasks.quality.report import make_report
from tests.quality.world import STEPS, World, commit, open_world
from tests.services.server import free_port

ROOT = Path(__file__).parents[2]
KEY = "2026-11-01"
RUN = "by_hand"
_DAG = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

with DAG("kale_quality_report", schedule=PartitionedAssetTimetable(assets=Asset("captions"))):
    EmptyOperator(task_id="report")
"""


@dataclass(frozen=True)
class Airflow:
    """Where it listens, and who may enter."""

    url: str
    passwords: dict[str, str]

    def client(self, user: str | None) -> httpx.Client:
        """A client logged in as a user, or as nobody."""
        return httpx.Client(base_url=self.url, timeout=60, headers=self._token(user) if user else {})

    def _token(self, user: str) -> dict[str, str]:
        login = {"username": user, "password": self.passwords[user]}
        answer = httpx.post(f"{self.url}/auth/token", json=login, timeout=60).json()
        return {"Authorization": f"Bearer {answer['access_token']}"}


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with the report on one key."""
    lake = open_world(tmp_path_factory.mktemp("ui"))
    world = World(KEY, pairs=120)
    for step in STEPS:
        commit(lake, world, step, lambda rows: [rows[0] | _hostile(rows[0]), *rows[1:]])
        if step in ("ingest", "images"):  # the hostile captions would be stopped, rightly
            gate(lake, lake.settings, step, KEY)
    make_report(lake, lake.settings, KEY)
    return lake


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
