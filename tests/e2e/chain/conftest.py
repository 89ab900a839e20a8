"""One real Airflow for all tests of the chain: it makes some keys while processes are killed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from kale_tasks.airflow.standalone import StandaloneAirflow, free_port
from kale_tasks.lake.tables import Lake
from kale_tasks.resources import resource
from kale_tasks.settings import Settings, load
from kale_tasks.world.demo.chain import Chain
from kale_tasks.world.web import SampleWeb, running
from kale_tasks.world.write import write_landing
from tests.e2e.chain.kills import at_work, kill_half_done, kill_supervisor, parts
from tests.e2e.chain.page import backfill_all_runs
from tests.e2e.chain.person import Person, finish
from tests.e2e.chain.small import LENIENT, SMALL
from tests.services.chromium import open_chromium
from tests.services.server import wait_until

KEYS, PAIRS = int(os.environ.get("CHAIN_KEYS", "1")), 24  # `make nightly` makes three keys
DEADLINE = 36  # seconds that a run may take
# A callback for late runs, as an operator of KALE would write it.
_ON_LATE = """
import json
import os


async def note(context):
    with open(os.environ["LATE_RUNS"], "a") as out:
        out.write(json.dumps(context["dag_run"]) + "\\n")
"""
_SETTINGS = {
    "KALE_IMAGES__FETCH__ALLOW": "[127.0.0.1/32]",
    # Fewer than all keys have, more than without the last one: splits go by uids, which differ with the web's port.
    "KALE_INGEST__SPLIT__STAGE1": "0.7",
    "KALE_SCHEDULE__DISTILL_NEW_ROWS": str(13 * KEYS - 9),
    "KALE_SCHEDULE__LANDING_WAIT_HOURS": "0.002",
    "KALE_SCHEDULE__APPROVE": "true",
    "KALE_SCHEDULE__DEADLINE_HOURS": str(DEADLINE / 3600),
    "KALE_SCHEDULE__ON_LATE": "late_runs.note",
    "OMP_WAIT_POLICY": "PASSIVE",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
}
_TOKENS = 96  # an untrained student does not know when to stop


@dataclass(frozen=True)
class Stage:
    """The Airflow, web and lake that the tests share."""

    airflow: StandaloneAirflow
    web: SampleWeb
    keys: list[str]
    environment: dict[str, str]
    late: Path  # what the callback wrote
    finished: dict[Path, int] = field(default_factory=dict)  # parts that existed when something was killed

    @property
    def person(self) -> Person:
        """The person who approves releases."""
        return Person(self.airflow.rest)

    @property
    def settings(self) -> Settings:
        """The settings of all processes."""
        return load(environ=self.environment).settings

    @property
    def lake(self) -> Lake:
        """Open the current lake."""
        return Lake(self.settings)


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Airflow with landing files of three keys and a web with faults that serves their images; nothing has run."""
    folder: Path = tmp_path_factory.mktemp("e2e")
    folders = {
        "KALE_LANDING": str(folder / "landing"),
        "KALE_WAREHOUSE": str(folder / "warehouse"),
        "KALE_IMAGES__SPOOL": str(folder / "spool"),
        "KALE_PUBLISH__TARGET": str(folder / "published"),
        "KALE_CAPTION__RECIPE": str(_recipe(folder)),
        "LATE_RUNS": str(folder / "late.jsonl"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
    }
    (folder / "late_runs.py").write_text(_ON_LATE)
    with running() as web:
        keys = write_landing(folder / "landing", KEYS, PAIRS, web.url)
        environment = SMALL | LENIENT | _SETTINGS | folders
        airflow = StandaloneAirflow(folder / "airflow", environment, free_port())
        try:
            settings = {n: v for n, v in environment.items() if n.startswith("KALE_")}
            Lake(load(environ=settings).settings)  # creates it
            airflow.start()
            yield Stage(airflow, web, keys, settings, folder / "late.jsonl")
        finally:
            airflow.stop()


@pytest.fixture(scope="package")
def made(stage: Stage) -> Stage:
    """The same after all Dags have run, while commands, a supervisor and the scheduler were killed."""
    airflow, warehouse = stage.airflow, Path(stage.settings.warehouse)
    chain = Chain(airflow.rest, stage.keys)
    chain.unpause()
    with open_chromium() as browser:
        backfill_all_runs(browser, airflow, stage.keys[0], stage.keys[-1])
    stage.finished.update(kill_half_done(airflow, "images", warehouse / "images"))
    command = kill_supervisor(airflow, "dense")
    wait_until(lambda: not command.is_running(), "the command to end with its supervisor", 60)
    command = at_work(airflow, "fused")
    stage.finished.update(parts(warehouse))
    airflow.kill("scheduler")
    wait_until(lambda: not command.is_running(), "the command to end with its task", 60)
    airflow.start_component("scheduler")
    finish(chain, stage.person)
    return stage


def _recipe(folder: Path) -> Path:
    recipe = yaml.safe_load(resource("config/recipes/demo.yaml").read_text())
    recipe["student"]["sampling"]["max_tokens"] = _TOKENS
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
