"""One real Airflow, its landing files, the web of their images and its lake, for all tests of the chain."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kale_tasks.config import Settings, load
from kale_tasks.demo.airflow import Airflow, free_port
from kale_tasks.demo.seed import seed
from kale_tasks.lake.lake import Lake
from kale_tasks.resources import resource
from kale_tasks.sample.web import SampleWeb, running

KEYS, PAIRS = 3, 24
# So few rows say nothing about quality; what gates do with bad rows is tested with them.
_LENIENT = {
    f"KALE_QUALITY__LIMITS__{name.upper()}": value
    for value, names in {
        "1": "truncated_max loop_max foreign_max invented_max copied_max split_gap repeat_share leak_max refusal_max "
        "mojibake_max placeholder_max student_gap unreachable_max",
        "0": "alt_used_min words_mean_min yield_min kept_min",
    }.items()
    for name in names.split()
}
# The smallest student there can be: four steps, and a gate that lets it through.
_SMALL = {
    "KALE_PROFILE": "demo",
    "KALE_PARTS__PART_ROWS": "5",
    "KALE_IMAGES__FETCH__CONTACT": "tests@example.org",
    "KALE_IMAGES__FETCH__ALLOW": "[127.0.0.1/32]",
    "KALE_IMAGES__FETCH__HOST_RATE": "8",  # some seconds in which it can be killed
    "KALE_DISTILL__TRAIN__STEPS": "4",
    "KALE_DISTILL__TRAIN__CONNECTOR_STEPS": "1",
    "KALE_DISTILL__GATE__ROWS": "4",
    "KALE_DISTILL__GATE__FACTS_CARRIED": "0",
    "KALE_DISTILL__GATE__FACTS_INVENTED": "1",
    "KALE_DISTILL__GATE__DESCRIPTION": "0",
    "KALE_SCHEDULE__DISTILL_NEW_ROWS": "15",  # more than two keys bring, less than three
    "KALE_SCHEDULE__RETRIES": "5",
    "KALE_SCHEDULE__RETRY_MINUTES": "0.05",
    "KALE_SCHEDULE__LANDING_WAIT_HOURS": "0.002",
    "OMP_WAIT_POLICY": "PASSIVE",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
}
_TOKENS = 96  # a student that learnt nothing does not know when to stop


@dataclass(frozen=True)
class Stage:
    """What a test of the whole plays on."""

    airflow: Airflow
    web: SampleWeb
    keys: list[str]
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        """The settings of every process in it."""
        return load(environ=self.environment).settings

    @property
    def lake(self) -> Lake:
        """The lake as it is now."""
        return Lake(self.settings)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Airflow with three keys on its landing, their images on a web with faults; nothing has run yet."""
    folder: Path = tmp_path_factory.mktemp("e2e")
    folders = {
        "KALE_LANDING": str(folder / "landing"),
        "KALE_WAREHOUSE": str(folder / "warehouse"),
        "KALE_IMAGES__SPOOL": str(folder / "spool"),
        "KALE_PUBLISH__TARGET": str(folder / "published"),
        "KALE_CAPTION__RECIPE": str(_recipe(folder)),
    }
    with running() as web:
        keys = seed(folder / "landing", KEYS, PAIRS, web.url)
        environment = _SMALL | _LENIENT | folders
        airflow = Airflow(folder / "airflow", environment, free_port())
        try:
            airflow.start()
            yield Stage(airflow, web, keys, {n: v for n, v in environment.items() if n.startswith("KALE_")})
        finally:
            airflow.stop()


def _recipe(folder: Path) -> Path:
    recipe = yaml.safe_load(resource("config/recipes/demo.yaml").read_text())
    recipe["student"]["sampling"]["max_tokens"] = _TOKENS
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
