"""Operators: what they pass to the command, and what they do when it meets a conflict."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import DagRunTriggerException

from kale_tasks.airflow import command_operator
from kale_tasks.airflow.operators import (
    CheckOperator,
    CommitOperator,
    RunOperator,
    SealOperator,
    WorkOperator,
    in_groups,
)
from kale_tasks.errors import BadData, Conflict
from kale_tasks.settings import load

TASK = SimpleNamespace(dag_id="kale_release", run_id="manual__1", task_id="build", map_index=-1, try_number=2)
CODES = {3: BadData, 5: Conflict}
ACCOUNT = {"rows": 3, "quarantined": 0}


class Commands:
    """Replaces the command of an operator; each run ends with the next exit code of a list."""

    def __init__(self, *codes: int) -> None:
        self.codes, self.lines, self.environments = list(codes), list[list[str]](), list[dict[str, str]]()

    def __call__(self, line: list[str], environment: dict[str, str], python: str | None) -> Any:
        self.lines.append(line)
        self.environments.append(environment)
        return self

    def run(self, log: Any) -> dict[str, int]:
        if code := self.codes.pop(0):
            raise CODES[code](f"exit code {code}")
        return dict(ACCOUNT)


def ended(monkeypatch: pytest.MonkeyPatch, *codes: int) -> tuple[Commands, Any]:
    """Run the operator on commands that end so; what it did and returned."""
    commands = Commands(*codes)
    monkeypatch.setattr(command_operator, "Command", commands)
    monkeypatch.setattr(command_operator, "KaleHook", lambda name: SimpleNamespace(environment=dict))
    operator = RunOperator(task_id="build", step="release", again="manual__1", overrides={})
    try:
        return commands, operator.execute({"ti": TASK})
    except (BadData, Conflict) as error:
        return commands, error


def test_a_conflict_is_planned_again_under_the_same_request(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, result = ended(monkeypatch, 5, 5, 0)
    assert result == ACCOUNT
    assert len(commands.lines) == 3
    assert all(line == commands.lines[0] for line in commands.lines)
    assert commands.lines[0][:5] == ["run", "release", "--again", "--request", "manual__1"]


def test_conflicts_without_end_and_bad_data_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, result = ended(monkeypatch, *[5] * 10)
    assert isinstance(result, Conflict) and len(commands.lines) == 4
    commands, result = ended(monkeypatch, 3, 0)
    assert isinstance(result, BadData) and len(commands.lines) == 1


PLANNED = [
    WorkOperator(task_id="work", step="ingest", key="k", fingerprint="f", chunks=[0], overrides={}),
    SealOperator(task_id="seal", step="ingest", key="k", fingerprint="f", overrides={}),
    CheckOperator(task_id="check", step="ingest", key="k", fingerprint="f", overrides={}),
    CommitOperator(task_id="commit", step="ingest", key="k", fingerprint="f", base="b", overrides={}),
]


@pytest.mark.parametrize("operator", PLANNED, ids=lambda operator: operator.task_id)
def test_a_conflict_after_the_plan_makes_the_dag_run_start_again_three_times(
    monkeypatch: pytest.MonkeyPatch, operator: BaseOperator
) -> None:
    monkeypatch.setattr(command_operator, "Command", Commands(*[5] * 10))
    monkeypatch.setattr(command_operator, "KaleHook", lambda name: SimpleNamespace(environment=dict))
    run = SimpleNamespace(dag_id="kale_ingest", run_id="manual__1", clear_number=0)
    while run.clear_number < 3:
        with pytest.raises(DagRunTriggerException) as cleared:
            operator.execute({"ti": TASK, "dag_run": run})
        asked = cleared.value
        assert (asked.trigger_dag_id, asked.dag_run_id, asked.reset_dag_run) == ("kale_ingest", "manual__1", True)
        run.clear_number += 1
    with pytest.raises(Conflict):
        operator.execute({"ti": TASK, "dag_run": run})


@pytest.mark.parametrize(
    ("chunks", "tasks", "sizes"),
    [(0, 4, []), (1, 4, [1]), (4, 4, [1] * 4), (50, 4, [12, 13, 12, 13]), (3, None, [1] * 3)],
)
def test_chunks_are_divided_evenly_among_tasks_and_none_is_left_out(
    chunks: int, tasks: int | None, sizes: list[int]
) -> None:
    groups = in_groups(range(chunks), tasks)
    assert [len(group) for group in groups] == sizes
    assert [chunk for group in groups for chunk in group] == list(range(chunks))


def test_a_task_works_on_all_its_chunks_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(3)
    monkeypatch.setattr(command_operator, "Command", commands)
    monkeypatch.setattr(command_operator, "KaleHook", lambda name: SimpleNamespace(environment=dict))
    operator = WorkOperator(task_id="work", step="dense", key="k", fingerprint="f", chunks=[7, 8], overrides={})
    with pytest.raises(BadData):
        operator.execute({"ti": TASK})
    (line,) = commands.lines
    assert line[:8] == ["work", "dense", "--fingerprint", "f", "--chunk", "7", "--chunk", "8"]


def test_each_try_of_a_task_has_the_same_name_for_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, _ = ended(monkeypatch, 0)
    assert commands.environments[0] == {"KALE_ATTEMPT": "2", "KALE_TASK": "kale_release manual__1 build -1"}


def test_variables_that_a_task_passes_to_its_command_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, _ = ended(monkeypatch, 0)
    assert load(environ=commands.environments[0]).settings == load(environ={}).settings
