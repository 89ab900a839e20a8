"""Every Dag run has a line in the ledger, and late runs call the callback."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.chain.conftest import DEADLINE, Stage
from tests.services.server import wait_until

pytestmark = pytest.mark.timeout(1800)
_SLACK = 30  # seconds after which the scheduler must have checked its deadlines


def test_every_run_has_its_line_in_the_ledger(made: Stage) -> None:
    since = made.airflow.groups["scheduler"].born  # a killed one may lose runs that it had not recorded yet
    ended = {_name(run): run["state"] for run in _runs(made) if _at(run["end_date"]).timestamp() > since}
    assert len(ended) > 6
    wait_until(lambda: ended.keys() <= _lines(made).keys(), "the lines", 60, pause=1)
    recorded = _lines(made)
    assert {name: json.loads(recorded[name]["config"])["state"] for name in ended} == ended
    assert set(Counter(_line_name(line) for line in _all_lines(made)).values()) == {1}


def test_only_late_runs_call_the_callback(made: Stage) -> None:
    took = {_name(run): (_at(run["end_date"]) - _at(run["queued_at"])).total_seconds() for run in _runs(made)}
    late = {name for name, seconds in took.items() if seconds > DEADLINE}
    very = {name for name in late if took[name] > DEADLINE + _SLACK}
    failed = {_name(run) for run in _runs(made) if run["state"] == "failed"}  # Airflow counts failed runs as late
    called = [_name(json.loads(line)) for line in made.late.read_text().splitlines()]
    assert very and very <= set(called) and set(called) - failed <= late
    assert len(called) == len(set(called))


def _runs(stage: Stage) -> list[dict[str, Any]]:
    found = stage.airflow.rest.get("/dags/~/dagRuns?limit=500&state=success&state=failed")["dag_runs"]
    return list(found)


def _name(run: dict[str, Any]) -> tuple[str, str]:
    return run["dag_id"], run["dag_run_id"]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _all_lines(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.lake.arrow("runs", where="verb = 'dag'").to_pylist())


def _lines(stage: Stage) -> dict[tuple[str, str], dict[str, Any]]:
    return {_line_name(line): line for line in _all_lines(stage)}


def _line_name(line: dict[str, Any]) -> tuple[str, str]:
    return line["step"], json.loads(line["config"])["run"]
