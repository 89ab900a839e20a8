"""Airflow on this machine: SQLite, api-server, scheduler, dag-processor and triggerer, all in one folder."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from kale_tasks.errors import BadConfig, KaleError
from kale_tasks.process import Group, stop
from kale_tasks.resources import resource
from kale_tasks.world.demo.rest import Rest

USER, PASSWORD = "admin", "kale"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
POOLS = {"gpu": 1, "spark": 1}
_READY_SECONDS = 240


class Airflow:
    """A whole Airflow in a folder; `environment` is what its tasks shall see besides."""

    def __init__(self, home: Path, environment: Mapping[str, str], port: int = 8080) -> None:
        self.home, self.port = home.resolve(), port
        self.url = f"http://127.0.0.1:{port}"
        self.rest = Rest(self.url, USER, PASSWORD)
        self.environment = {**os.environ, **_settings(self.home, port), **environment}
        self.groups: dict[str, Group] = {}

    def start(self) -> None:
        """Start everything and wait until it answers."""
        self._prepare()
        for name in COMPONENTS:
            self.start_component(name)
        deadline = time.monotonic() + _READY_SECONDS
        while not self.rest.healthy:
            dead = [group.name for group in self.groups.values() if not group.alive]
            if dead or time.monotonic() > deadline:
                raise KaleError(f"Airflow's {dead[0] if dead else 'components'} did not start: see {self.home}/*.log.")
            time.sleep(0.5)
        self._wait_for_dags()

    def _wait_for_dags(self) -> None:
        wanted = {path.stem for path in resource("dags").glob("*.py")}
        while not wanted <= {dag["dag_id"] for dag in self.rest.get("/dags")["dags"]}:
            if broken := self.rest.get("/importErrors")["import_errors"]:
                why = broken[0]["stack_trace"].splitlines()[-1]
                raise KaleError(f"{broken[0]['filename']} cannot be loaded: {why}")
            time.sleep(0.5)

    def start_component(self, name: str) -> None:
        """Start one of them, and note it down for `stop_what_runs`."""
        self.groups[name] = Group.start(name, self._command(name), self.environment, self.home / f"{name}.log")
        _pids(self.home).write_text(json.dumps([group.as_json() for group in self.groups.values()]))

    def stop(self) -> None:
        """End everything, tasks included."""
        stop(list(self.groups.values()))
        _pids(self.home).unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        """End a component as a power cut would."""
        self.groups[name].signal(signal.SIGKILL)

    def _prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        check_free(self.port)
        (self.home / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
        pools = {name: {"slots": slots, "description": f"KALE: {name}", "include_deferred": False}
                 for name, slots in POOLS.items()}  # fmt: skip
        (self.home / "pools.json").write_text(json.dumps(pools))
        with (self.home / "prepare.log").open("ab") as log:
            for words in (("db", "migrate"), ("pools", "import", str(self.home / "pools.json"))):
                command = [sys.executable, "-m", "airflow", *words]
                done = subprocess.run(command, env=self.environment, stdout=log, stderr=log, check=False)
                if done.returncode:
                    raise KaleError(f"airflow {' '.join(words)} failed: see {self.home}/prepare.log.")

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "airflow", name]


def stop_what_runs(home: Path) -> int:
    """End an Airflow that another process started in a folder; answers with the number of its parts that ran."""
    try:
        groups = [Group(**group) for group in json.loads(_pids(home).read_text())]
    except FileNotFoundError:
        return 0
    running = [group for group in groups if group.alive]
    stop(running)
    _pids(home).unlink(missing_ok=True)
    return len(running)


def check_free(port: int) -> None:
    """BadConfig when something listens on a port."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise BadConfig(f"Port {port} is taken. `kale down` ends an Airflow of ours; or give another --port.")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settings(home: Path, port: int) -> dict[str, str]:
    values = {
        "CORE__DAGS_FOLDER": resource("dags"),
        "CORE__PLUGINS_FOLDER": resource("plugins"),
        "CORE__LOAD_EXAMPLES": False,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": True,
        "CORE__PARALLELISM": 6,  # SQLite takes eight at most
        "CORE__MAX_ACTIVE_RUNS_PER_DAG": 16,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
        "CORE__FERNET_KEY": "",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",  # one writer waits for another
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__WORKERS": 1,
        "API__SECRET_KEY": secrets.token_hex(16),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 300,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 300,
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
        "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
        "SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": 100,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,  # after a scheduler was killed
        "STATE_STORE__CLEAR_ON_SUCCESS": True,
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    named = {f"AIRFLOW__{name}": str(value) for name, value in values.items()}
    return named | {"AIRFLOW_HOME": str(home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def _pids(home: Path) -> Path:
    return home / "pids.json"
