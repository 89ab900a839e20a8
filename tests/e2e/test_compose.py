"""The processes of docker-compose.yml, started by hand from its own commands and environment, make a key.

PostgreSQL goes away in the middle. What ends by that is started again, as the file's `restart: unless-stopped` has it.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.airflow.rest import AirflowRest
from kale_tasks.airflow.standalone import free_port
from kale_tasks.lake.tables import Lake
from kale_tasks.process import ProcessGroup, stop_groups
from kale_tasks.resources import resource
from kale_tasks.settings import load
from kale_tasks.world.write import write_landing
from tests.services.postgres import Postgres
from tests.services.server import wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer", "celery-worker")
_ABSENCE = 5  # seconds
COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def environment(postgres: Postgres, redis: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The scheduler's environment from the file, with the addresses of local servers."""
    folder = tmp_path_factory.mktemp("compose")
    shared, port = folder / "shared", free_port()
    airflow, lake = postgres.database(), postgres.database()
    given = {
        **COMPOSE["services"]["scheduler"]["environment"],
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow,
        "AIRFLOW__CELERY__BROKER_URL": redis,
        "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + airflow.replace("+psycopg2", ""),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of thirty-two letters or more, for this test",
        "KALE_PROFILE": "demo",
        "KALE_CATALOG": lake,
        "KALE_INGEST__SPARK__MASTER": "local[*]",
        "KALE_PARTS__CHUNK_ROWS": "10",
        "KALE_PARTS__PART_ROWS": "5",
        "KALE_SCHEDULE__LANDING_WAIT_HOURS": "0.005",  # the run of today finds nothing and makes room
        "KALE_SCHEDULE__RETRIES": "5",
    }
    of_image = {  # what the Dockerfile sets
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(resource("dags")),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(resource("plugins")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    here = {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "KALE_IMAGES__SPOOL": str(folder / "spool"),
        "KALE_LANDING": str(folder / "landing"),
        "SPARK_LOCAL_DIRS": str(folder / "spark"),
        "KALE_WAREHOUSE": str(folder / "warehouse"),
        "ADMIN_PASSWORD": "kale",
    }
    kept = {n: v for n, v in given.items() if "${" not in v and not n.startswith("KALE_S3__")}
    moved = {n: v.replace("/opt/airflow/shared", str(shared)) for n, v in kept.items()}
    shared.mkdir()
    return {**os.environ, **moved, **of_image, **here}


class Services:
    """The services of the file that keep running."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment, self._logs = environment, logs
        self.groups: dict[str, ProcessGroup] = {}
        self.rest = AirflowRest(f"http://127.0.0.1:{environment['AIRFLOW__API__PORT']}", "admin", "kale")

    def keep_up(self) -> None:
        """Start those that do not run."""
        for name in SERVICES:
            if name not in self.groups or not self.groups[name].alive:
                assert COMPOSE["services"][name]["restart"] == "unless-stopped"
                self._start(name, COMPOSE["services"][name]["command"])

    def prepare(self) -> None:
        """What the init service does."""
        self._start("init", ["bash", "-c", _init(self._environment)])
        wait_until(lambda: not self.groups["init"].alive, "the init service", 240)

    def _start(self, name: str, command: list[str]) -> None:
        if name in self.groups:
            stop_groups([self.groups[name]])  # what the first process left behind
        self.groups[name] = ProcessGroup.start(name, command, self._environment, self._logs / f"{name}.log")


@pytest.fixture(scope="module")
def services(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """An Airflow made of the file's services, which knows its Dags."""
    made = Services(environment, tmp_path_factory.mktemp("logs"))
    try:
        made.prepare()
        made.keep_up()
        wait_until(lambda: made.rest.healthy, "Airflow", 240, pause=0.5)
        wait_until(lambda: len(made.rest.get("/dags")["dags"]) >= 10, "the Dags", 120, pause=0.5)
        yield made
    finally:
        stop_groups(list(made.groups.values()))


def test_a_key_goes_through_although_postgresql_restarts_in_the_middle(
    services: Services, environment: dict[str, str], postgres: Postgres
) -> None:
    settings, rest = (
        load(environ={n: v for n, v in environment.items() if n.startswith("KALE_")}).settings,
        services.rest,
    )
    (key,) = write_landing(Path(settings.landing), 1, 30)
    for dag in ("kale_ingest", "kale_images"):
        rest.send("PATCH", f"/dags/{dag}", {"is_paused": False})
    rest.send("POST", "/dags/kale_ingest/dagRuns", {"logical_date": None, "partition_key": key})
    wait_until(lambda: "running" in _images(rest, key), "the images to begin", 300, pause=1)
    postgres.kill()
    time.sleep(_ABSENCE)
    postgres.start()

    def images_made() -> bool:
        services.keep_up()
        states = _images(rest, key) if rest.healthy else []
        assert "failed" not in states
        return "success" in states

    wait_until(images_made, "the images of the key", 400, pause=1)
    lake = Lake(settings)
    pairs, images = lake.committed("pairs", key), lake.committed("images", key)
    assert pairs and images and pairs.rows == images.rows > 10
    assert images.parts > 2


def _images(rest: AirflowRest, key: str) -> list[str]:
    """The states of the runs of kale_images for a key."""
    runs = rest.get("/dags/kale_images/dagRuns")["dag_runs"]
    return [run["state"] for run in runs if run["partition_key"] == key]


def _init(environment: dict[str, str]) -> str:
    """The script of the init service, with another shared folder and without making S3 buckets."""
    script = Path(__file__).parents[2].joinpath(*COMPOSE["services"]["init"]["command"][1:]).read_text()
    shared = str(Path(environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).parent)
    return re.sub(r"python - <<'END'\n.*?\nEND\n", "", script, flags=re.DOTALL).replace("/opt/airflow/shared", shared)
