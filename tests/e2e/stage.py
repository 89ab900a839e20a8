"""A running Airflow with a lake as the demo makes it, for tests of its pages."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.airflow.standalone import StandaloneAirflow, free_port
from kale_tasks.captions.steps import find_spec
from kale_tasks.errors import BadData
from kale_tasks.lake.keys import MARKER
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.report import check_and_report
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from tests.quality.world import commit_student
from tests.services.server import wait_until
from tests.ui.conftest import Airflow
from tests.ui.demo_lake import demo_lake
from tests.ui.sample import fill

BLOCKED, REFUSED = "2026-11-09", "2026-11-08"  # the run of the first is accepted, that of the other never
OTHER_STUDENT = "fedcba9876543210"
_DAGS = ("ingest", "quality_report", "takedown", "release", "canary")
_USERS = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer"}


@dataclass(frozen=True)
class Stage:
    """A running Airflow, and the lake that its pages show."""

    standalone: StandaloneAirflow
    airflow: Airflow
    lake: Lake
    keys: list[str]

    def paths(self) -> list[str]:
        """Every page, with rows of the lake; the last leads to none."""
        key, uid = self.keys[-1], self.uid(0)
        one, *_, other = sorted({*self.lake.arrow("releases", columns=["version"])["version"].to_pylist()})
        pages = [
            "/", f"/keys/{key}?other={self.keys[0]}", f"/keys/{REFUSED}", f"/captions?key={key}",
            f"/captions?key={key}&sort=longest", f"/captions?key={key}&q=zebra", f"/rows/{key}/{uid}",
            f"/votes?key={key}", "/quality", "/models", "/releases", f"/releases/{one}?old={other}", "/canary",
            "/try", f"/try?key={key}&uid={uid}", "/reports", f"/report/{key}", f"/report/{REFUSED}", "/keys/2031-01-0x",
        ]  # fmt: skip
        return [f"/kale{path}" for path in pages]

    def uid(self, number: int) -> str:
        """The uid of a caption of stage 1 of the last key."""
        rows = self.lake.arrow("captions", self.keys[-1], ["uid"], slice_={"recipe": "demo", "stage": 1})
        return str(sorted(rows["uid"].to_pylist())[number])

    def ended(self, dag: str) -> dict[str, Any]:
        """Wait until the latest run of a Dag has ended well, and return it."""
        path = f"/dags/kale_{dag}/dagRuns?order_by=-run_after&limit=1"

        def state() -> str:
            return str(self.standalone.rest.get(path)["dag_runs"][0]["state"])

        wait_until(lambda: state() in ("success", "failed"), f"the end of {dag}", 400, pause=1)
        run: dict[str, Any] = self.standalone.rest.get(path)["dag_runs"][0]
        assert run["state"] == "success", self.logs(dag, run["dag_run_id"])
        return run

    def logs(self, dag: str, run: str) -> str:
        """The ends of the logs of the tasks of a run."""
        path, rest = f"/dags/kale_{dag}/dagRuns/{run}/taskInstances", self.standalone.rest
        tries = [(one["task_id"], one["state"], one["try_number"]) for one in rest.get(path)["task_instances"]]
        return "".join(f"{name} {state}: {rest.get(f'{path}/{name}/logs/{n}')}"[-3000:] for name, state, n in tries)

    def audited(self, event: str) -> dict[str, Any]:
        """The details of the latest line of the audit log about an action, which the admin did."""
        lines = self.standalone.rest.get(f"/eventLogs?event=kale.{event}&order_by=-id&limit=1")["event_logs"]
        assert lines and lines[0]["owner"] == "admin", f"no line about {event}"
        details: dict[str, Any] = json.loads(lines[0]["extra"])
        return details


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """A lake, two students more, and two keys of which almost no row is kept, behind a real Airflow.

    The lake is that of the demo in `DEMO_FOLDER`, or else a small one with the captions of its models.
    """
    environment, keys = demo_lake(folder) if os.environ.get("DEMO_FOLDER") else fill(folder, keys=3, pairs=40)
    lake = Lake(load(environ=environment).settings)
    commit_student(lake, OTHER_STUDENT)
    for key in (BLOCKED, REFUSED):
        _block(folder, lake, key)
    airflow = StandaloneAirflow(folder / "airflow", {**environment, **_USERS}, free_port())
    try:
        airflow.start()
        for dag in _DAGS:
            airflow.rest.send("PATCH", f"/dags/kale_{dag}", {"is_paused": False})
        passwords = json.loads((folder / "airflow/passwords.json").read_text())
        yield Stage(airflow, Airflow(airflow.url, passwords), lake, keys)
    finally:
        airflow.stop()


def _block(folder: Path, lake: Lake, key: str) -> None:
    """Land a key of one-word texts, and let its run fail its checks."""
    landing = folder / "landing" / key
    landing.mkdir()
    rows = [f"https://{key}.example/{number}.jpg,barn\n" for number in range(1, 100)]
    good = f"https://{key}.example/0.jpg,A red barn beside the road to Vermont\n"
    (landing / "rows.csv").write_text("".join(["url,text\n", good, *rows]))
    (landing / MARKER).touch()
    run = Run(find_spec("ingest", lake.settings).load(), lake, lake.settings, key)
    with pytest.raises(BadData):
        execute(run, lambda sealed: check_and_report(lake, lake.settings, sealed))
