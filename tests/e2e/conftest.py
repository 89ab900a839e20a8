"""One real Airflow, its landing files and its lake, for all end-to-end tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kale_tasks.config import Settings, load
from kale_tasks.demo.airflow import Airflow, free_port
from kale_tasks.demo.chain import Chain
from kale_tasks.demo.seed import seed
from kale_tasks.lake.lake import Lake
from tests.services.server import wait_until

# So few rows say nothing about quality; what gates do with bad rows is tested with them.
_LENIENT = {
    f"KALE_QUALITY__LIMITS__{name.upper()}": value
    for value, names in {
        "1": "truncated_max loop_max foreign_max invented_max copied_max split_gap repeat_share leak_max refusal_max "
        "mojibake_max placeholder_max student_gap",
        "0": "alt_used_min words_mean_min yield_min kept_min",
    }.items()
    for name in names.split()
}
# The smallest student there can be: four steps, and a gate that lets it through.
_SMALL = {
    "KALE_DISTILL__TRAIN__STEPS": "4",
    "KALE_DISTILL__TRAIN__CONNECTOR_STEPS": "1",
    "KALE_DISTILL__GATE__ROWS": "8",
    "KALE_DISTILL__GATE__FACTS_CARRIED": "0",
    "KALE_DISTILL__GATE__FACTS_INVENTED": "1",
    "KALE_DISTILL__GATE__DESCRIPTION": "0",
    "KALE_SCHEDULE__DISTILL_NEW_ROWS": "20",
    "KALE_SCHEDULE__RETRIES": "5",
    "KALE_SCHEDULE__RETRY_MINUTES": "0.05",
    "KALE_SCHEDULE__LANDING_WAIT_HOURS": "0.005",
    "KALE_PARTS__CHUNK_ROWS": "20",
    "KALE_PARTS__PART_ROWS": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
}
_CHAIN_SECONDS = 900


@dataclass(frozen=True)
class Stage:
    """What a test of the whole plays on."""

    airflow: Airflow
    keys: list[str]
    settings: Settings
    environment: dict[str, str]

    @property
    def lake(self) -> Lake:
        """The lake as it is now."""
        return Lake(self.settings)

    def begin(self) -> Chain:
        """Backfill every key, those that were made before too."""
        chain = Chain(self.airflow.rest, self.keys)
        chain.start()
        return chain

    def finish(self, chain: Chain) -> None:
        """Wait until nothing is left to run."""
        quiet = 0

        def ended() -> bool:
            nonlocal quiet
            quiet = quiet + 1 if chain.finished(chain.look()) else 0
            return quiet >= 60  # an announcement becomes a run within a second or two

        wait_until(ended, "the chain to end", _CHAIN_SECONDS)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Airflow with three keys on its landing; nothing has run yet."""
    folder: Path = tmp_path_factory.mktemp("e2e")
    environment = (
        _SMALL
        | _LENIENT
        | {
            "KALE_PROFILE": "demo",
            "KALE_LANDING": str(folder / "landing"),
            "KALE_WAREHOUSE": str(folder / "warehouse"),
            "KALE_PUBLISH__TARGET": str(folder / "published"),
        }
    )
    settings = load(environ={n: v for n, v in environment.items() if n.startswith("KALE_")}).settings
    keys = seed(folder / "landing", 3, 40)
    airflow = Airflow(folder / "airflow", environment, free_port())
    try:
        airflow.start()
        yield Stage(airflow, keys, settings, environment)
    finally:
        airflow.stop()
