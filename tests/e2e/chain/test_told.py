"""What the scheduler tells of the runs of the chain: a line of the ledger for each, and a word about those too late."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.chain.conftest import DEADLINE, Stage
from tests.services.server import wait_until

pytestmark = pytest.mark.timeout(1800)
_SLACK = 30  # seconds in which a scheduler must have looked at its deadlines


def test_every_run_has_its_line_in_the_ledger(made: Stage) -> None:
    since = made.airflow.groups["scheduler"].born  # one that is killed may take with it what it had just to tell
    ended = {_name(run): run["state"] for run in _runs(made) if _at(run["end_date"]).timestamp() > since}
    assert len(ended) > 6
    wait_until(lambda: ended.keys() <= _lines(made).keys(), "the lines", 60)
    told = _lines(made)
    assert {name: json.loads(told[name]["config"])["state"] for name in ended} == ended
    assert set(Counter(_line_name(line) for line in _all_lines(made)).values()) == {1}


def test_a_late_run_is_told_of_and_no_other(made: Stage) -> None:
    took = {_name(run): (_at(run["end_date"]) - _at(run["queued_at"])).total_seconds() for run in _runs(made)}
    late = {name for name, seconds in took.items() if seconds > DEADLINE}
    very = {name for name in late if took[name] > DEADLINE + _SLACK}
    failed = {_name(run) for run in _runs(made) if run["state"] == "failed"}  # to Airflow they are late in the end
    told = [_name(json.loads(line)) for line in made.late.read_text().splitlines()]
    assert very and very <= set(told) and set(told) - failed <= late
    assert len(told) == len(set(told))


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
