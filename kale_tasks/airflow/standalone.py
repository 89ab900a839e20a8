"""An Airflow on this machine: api-server, scheduler, dag-processor and triggerer on SQLite, in one folder."""

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

from kale_tasks.airflow.rest import AirflowRest
from kale_tasks.errors import BadConfig, KaleError
from kale_tasks.process import ProcessGroup, stop_groups
from kale_tasks.resources import resource

USER, PASSWORD = "admin", "kale"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
POOLS = {"gpu": 1, "spark": 1, "fetch": 4}  # slots by name
_READY_SECONDS = 240


class StandaloneAirflow:
    """An Airflow in a folder. `environment` is added to the environment of all its processes, tasks included."""

    def __init__(self, home: Path, environment: Mapping[str, str], port: int = 8080) -> None:
        self.home, self.port = home.resolve(), port
        self.url = f"http://127.0.0.1:{port}"
        self.rest = AirflowRest(self.url, USER, PASSWORD)
        self.environment = {**os.environ, **_settings(self.home, port), **environment}
        self.groups: dict[str, ProcessGroup] = {}

    def start(self) -> None:
        """Start all components and wait until they are healthy and every Dag is loaded.

        Raises BadConfig if the port is in use, and KaleError if a component exits or a Dag cannot be imported.
        """
        self._prepare()
        for name in COMPONENTS:
            self.start_component(name)
        deadline = time.monotonic() + _READY_SECONDS
        while not self.rest.healthy:
            dead = [group.name for group in self.groups.values() if not group.alive]
            if dead or time.monotonic() > deadline:
                raise KaleError(f"Airflow's {dead[0] if dead else 'components'} did not start. See {self.home}/*.log.")
            time.sleep(0.5)
        self._set_pools()
        self._wait_for_dags()

    def _set_pools(self) -> None:
        pools = [{"name": name, "slots": slots, "description": f"KALE: {name}", "include_deferred": False}
                 for name, slots in POOLS.items()]  # fmt: skip
        create = {"action": "create", "entities": pools, "action_on_existence": "overwrite"}
        if errors := self.rest.send("PATCH", "/pools", {"actions": [create]})["create"]["errors"]:
            raise KaleError(f"Airflow did not take the pools: {errors[0]}")

    def _wait_for_dags(self) -> None:
        expected = {path.name for path in resource("dags").glob("*.py")}
        while not expected <= {Path(dag["fileloc"]).name for dag in self.rest.get("/dags?limit=1000")["dags"]}:
            if broken := self.rest.get("/importErrors")["import_errors"]:
                reason = broken[0]["stack_trace"].splitlines()[-1]
                raise KaleError(f"Airflow cannot import {broken[0]['filename']}: {reason}")
            time.sleep(0.5)

    def start_component(self, name: str) -> None:
        """Start one component and record its process, so that `stop_standalone` finds it."""
        self.groups[name] = ProcessGroup.start(name, self._command(name), self.environment, self.home / f"{name}.log")
        _pids(self.home).write_text(json.dumps([group.as_json() for group in self.groups.values()]))

    def stop(self) -> None:
        """Stop all components and running tasks. An interrupt kills them at once and is raised again."""
        try:
            stop_groups(list(self.groups.values()))
        finally:
            if self.groups:
                _pids(self.home).unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        """Kill a component without warning (SIGKILL)."""
        self.groups[name].signal(signal.SIGKILL)

    def _prepare(self) -> None:
        check_port(self.port)
        if any(group.alive for group in _recorded(self.home)):
            raise BadConfig(f"An Airflow already runs in {self.home}. `kale down` stops it.")
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
        with (self.home / "prepare.log").open("ab") as log:
            migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
            if subprocess.run(migrate, env=self.environment, stdout=log, stderr=log, check=False).returncode:
                raise KaleError(f"`airflow db migrate` failed. See {self.home}/prepare.log.")

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "airflow", name]


def stop_standalone(home: Path) -> int:
    """Stop the Airflow that another process started in a folder. Return how many of its components were running."""
    running = [group for group in _recorded(home) if group.alive]
    try:
        stop_groups(running)
    finally:
        _pids(home).unlink(missing_ok=True)
    return len(running)


def check_port(port: int) -> None:
    """Raise BadConfig if something listens on a port of this machine."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise BadConfig(
                f"Port {port} is in use. `kale down` stops an Airflow that `kale up` started; or choose another --port."
            )


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settings(home: Path, port: int) -> dict[str, str]:
    values = {
        "CORE__DAGS_FOLDER": resource("dags"),
        "CORE__PLUGINS_FOLDER": resource("plugins"),
        "CORE__LOAD_EXAMPLES": False,
        "CORE__TEST_CONNECTION": "Enabled",  # the button of the connection form
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": True,
        "CORE__PARALLELISM": 6,  # SQLite locks up with more than eight
        "CORE__MAX_ACTIVE_RUNS_PER_DAG": 16,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
        "CORE__FERNET_KEY": "",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",  # writers wait for each other
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
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,  # adopts the tasks of a killed scheduler
        "STATE_STORE__CLEAR_ON_SUCCESS": True,
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    named = {f"AIRFLOW__{name}": str(value) for name, value in values.items()}
    return named | {"AIRFLOW_HOME": str(home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def _pids(home: Path) -> Path:
    return home / "pids.json"


def _recorded(home: Path) -> list[ProcessGroup]:
    try:
        return [ProcessGroup(**group) for group in json.loads(_pids(home).read_text())]
    except FileNotFoundError:
        return []
