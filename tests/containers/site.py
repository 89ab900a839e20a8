"""docker-compose.yml, run in a real engine from a checkout of its own with its own `.env`."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kale_tasks.airflow.rest import AirflowRest
from tests.e2e.chain.small import LENIENT, SMALL

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PORT = 18080
_BASE = "python:3.11.15-slim-bookworm"
PROFILES = ("celery", "spark")
# What an operator would put into .env; the rest is what `make env` writes.
_ENV = {
    "COMPOSE_PROJECT_NAME": "kale-containers",
    "AIRFLOW_EXECUTOR": "CeleryExecutor",
    "AIRFLOW_PORT": str(PORT),
    "AIRFLOW_URL": f"http://127.0.0.1:{PORT}",
    "SPARK_MASTER": "spark://spark-master:7077",
    "TASK_MEMORY": "5g",
    "SPARK_MEMORY": "1g",
    "KALE_PUBLISH__TARGET": "s3://kale/published",
    "KALE_INGEST__ENGINE": "spark",
    "KALE_PARTS__CHUNK_ROWS": "10",
    "KALE_IMAGES__FETCH__ALLOW": "[172.16.0.0/12,192.168.0.0/16,10.0.0.0/8]",
    "KALE_SCHEDULE__APPROVE": "false",
    "KALE_SCHEDULE__DISTILL_NEW_ROWS": "5",
    "KALE_SCHEDULE__DEADLINE_HOURS": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
}


class Site:
    """A running set of containers. `files` are compose files beside docker-compose.yml."""

    def __init__(self, folder: Path, *files: str) -> None:
        self.folder, self._files = folder, ("docker-compose.yml", "tests/containers/sample.yml", *files)
        self.env: dict[str, str] = {}

    def check_out(self, commit: str = "HEAD") -> None:
        """Lay a checkout with a new `.env`."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", self.folder], input=archive, check=True)
        subprocess.run([self.folder / "scripts/dotenv"], check=True, capture_output=True)
        path = self.folder / ".env"
        lines = [line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")]
        self.env = dict(line.split("=", 1) for line in lines) | SMALL | LENIENT | _ENV
        path.write_text("".join(f"{name}={value}\n" for name, value in self.env.items()))

    @property
    def rest(self) -> AirflowRest:
        """Airflow's REST API."""
        return AirflowRest(self.env["AIRFLOW_URL"], "admin", self.env["AIRFLOW_ADMIN_PASSWORD"])

    def build(self) -> None:
        """Build the image; torch comes from the base image if that brings it."""
        wheels = run("docker", "run", "--rm", _BASE, "sh", "-c", "ls /wheels || true").strip()
        torch = "--find-links /wheels torch==2.13.0+cpu torchvision==0.28.0"
        options = ["--network", "host", "--build-arg", f"TORCH={torch}"] if wheels else []
        run("docker", "build", *options, "-t", f"kale:{self.env['IMAGE_TAG']}", ".", folder=self.folder)

    def compose(self, *words: str, check: bool = True, given: str | None = None) -> str:
        """Run a command of Docker Compose and return what it prints."""
        files = [part for name in self._files for part in ("-f", name)]
        profiles = [part for name in PROFILES for part in ("--profile", name)]
        return run("docker", "compose", *files, *profiles, *words, folder=self.folder, check=check, given=given)

    def python(self, script: str, service: str = "scheduler", **env: str) -> Any:
        """Run a script in a new container of a service, and return the JSON of its last line."""
        options = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
        out = self.compose("run", "--rm", "--no-deps", "-T", *options, service, "python", "-", given=script)
        return json.loads(out.splitlines()[-1])

    def psql(self, statement: str, check: bool = True) -> None:
        """Run a statement in the database of Airflow."""
        command = ["psql", "-q", "-U", "kale", "-d", "airflow", "-c", statement]
        self.compose("exec", "-T", "postgres", *command, check=check)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return what the engine knows of the containers of a service."""
        ids = self.compose("ps", "-a", "-q", service).split()
        found = json.loads(run("docker", "inspect", *ids)) if ids else []
        return [one for one in found if one["Config"]["Labels"]["com.docker.compose.oneoff"] == "False"]

    def unhealthy(self) -> list[str]:
        """Name the containers that should run and are not healthy."""
        ids = self.compose("ps", "-a", "-q").split()
        found = json.loads(run("docker", "inspect", *ids)) if ids else []
        lasting = [one for one in found if one["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"]
        return [
            one["Name"].strip("/")
            for one in lasting
            if one["State"]["Status"] != "running"
            or one["State"].get("Health", {}).get("Status", "healthy") != "healthy"
        ]

    def wait_healthy(self, seconds: float = 400) -> float:
        """Wait until every container is healthy, and return the seconds."""
        return wait(lambda: not self.unhealthy() and self.rest.healthy, seconds, lambda: f"{self.unhealthy()}")


def run(*words: str, folder: Path | None = None, check: bool = True, given: str | None = None) -> str:
    """Run a command and return its output; its errors are in the exception."""
    done = subprocess.run(words, cwd=folder, input=given, capture_output=True, text=True, check=False)
    if check and done.returncode:
        said = f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
    return done.stdout


def wait(ready: Callable[[], bool], seconds: float, state: Callable[[], str]) -> float:
    """Wait until something is so, looking every second; return the seconds, or raise RuntimeError with the state."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            raise RuntimeError(f"not ready after {seconds:.0f} s: {state()}")
        time.sleep(1)
    return time.monotonic() - began
