"""Operators run `kale` commands: they return its JSON, raise its errors, and leave no process behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from kale_tasks.airflow.command import Command
from kale_tasks.errors import BadConfig, Blocked, Conflict, Paused, Transient
from kale_tasks.process import command_environment
from tests.lakes import lake_of
from tests.services.server import wait_until

# Replaces the command: starts a child, prints the pids of both, then sleeps.
_SLEEPER = """#!/bin/bash
sleep 600 &
echo "$$ $!" >&2
wait
"""
# Replaces a task process: runs a command until it is killed.
_TASK = """
import sys
from kale_tasks.airflow.command import Command
Command(["sample", "web", "--port", "0"], {}).run(lambda line: print(line, flush=True))
"""


@pytest.fixture
def lake(tmp_path: Path) -> dict[str, str]:
    """The environment of an empty lake."""
    lake_of([f"warehouse={tmp_path / 'lake'}"])
    return {"KALE_WAREHOUSE": str(tmp_path / "lake"), "KALE_LANDING": str(tmp_path / "landing"), "KALE_PROFILE": "demo"}


@pytest.fixture
def sleeper(tmp_path: Path) -> str:
    """An interpreter that never ends."""
    path = tmp_path / "sleeper"
    path.write_text(_SLEEPER)
    path.chmod(0o755)
    return str(path)


def test_the_answer_is_the_json_that_the_command_prints(lake: dict[str, str]) -> None:
    answer = Command(["pending", "--json"], lake).run(lambda line: None)
    assert [lacks["stage1"] for lacks in answer["recipes"].values()] == [[]]


def test_a_command_knows_nothing_of_airflow_but_what_the_lake_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://airflow:secret@db/airflow")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "http://user:secret@elsewhere")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("HF_HOME", "/models")
    given = command_environment({"KALE_WAREHOUSE": "s3://lake"})
    assert not [name for name, value in given.items() if "AIRFLOW" in name or "secret" in value]
    assert (given["HF_HOME"], given["KALE_WAREHOUSE"], given["PATH"]) == ("/models", "s3://lake", os.environ["PATH"])


def test_a_blocked_run_is_distinguished_from_other_bad_data(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"blocked": "f00d"}\'\necho "kale: it is blocked" >&2\nexit 3\n')
    python.chmod(0o755)
    with pytest.raises(Blocked, match="it is blocked") as blocked:
        Command(["run"], {}, str(python)).run(lambda line: None)
    assert blocked.value.fingerprint == "f00d"


def test_the_exit_code_decides_what_kind_of_failure_it_is(lake: dict[str, str]) -> None:
    said: list[str] = []
    with pytest.raises(BadConfig, match="There is no step 'nonsense'"):
        Command(["plan", "nonsense", "--key", "k", "--json"], lake).run(said.append)
    assert said[-1].startswith("kale: There is no step")
    with pytest.raises(Conflict):
        Command(["plan", "dense", "--key", "2026-11-01", "--json"], lake).run(said.append)


def test_killing_ends_the_whole_group(sleeper: str) -> None:
    said: list[str] = []
    command = Command(["work"], {}, python=sleeper)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            command.run(said.append)
        except Transient as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: bool(said), "the process numbers")
    command.kill()
    thread.join(30)
    assert "SIGTERM" in str(failures[0])
    wait_until(lambda: not any(map(_runs, said[0].split())), "the end of both", 10)


def test_a_command_does_not_outlive_a_task_that_is_killed_outright() -> None:
    with subprocess.Popen([sys.executable, "-c", _TASK], stdout=subprocess.PIPE, text=True) as task:
        wait_until(lambda: bool(psutil.Process(task.pid).children()), "the command", 60)
        (child,) = psutil.Process(task.pid).children()
        os.kill(task.pid, signal.SIGKILL)
        wait_until(lambda: not _runs(str(child.pid)), "the end of the command", 20)


def test_a_task_without_its_supervisor_gives_up(sleeper: str, tmp_path: Path) -> None:
    script = tmp_path / "supervisor.py"
    note = tmp_path / "note"
    script.write_text(
        "import os, time\n"
        "from kale_tasks.airflow.command import Command\n"
        "if os.fork():\n"
        "    time.sleep(600)\n"
        "try:\n"
        f"    Command(['work'], {{}}, python={sleeper!r}).run(lambda line: open({str(note)!r}, 'a').write(line))\n"
        "except Exception as error:\n"
        f"    open({str(note)!r}, 'a').write('|' + str(error))\n"
    )
    with subprocess.Popen([sys.executable, str(script)]) as supervisor:
        wait_until(note.exists, "the process numbers", 60)
        time.sleep(0.2)
        supervisor.kill()
    wait_until(lambda: "supervisor of this task is gone" in note.read_text(), "the task to notice", 30)
    numbers = note.read_text().split("|")[0].split()
    wait_until(lambda: not any(map(_runs, numbers)), "the end of both", 30)


def _runs(pid: str) -> bool:
    try:
        return bool(psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_pause_names_when_the_work_goes_on(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho \'{"resumes_at": "2026-11-02T00:00:00+00:00"}\'\necho "kale: spent" >&2\nexit 6\n'
    )
    python.chmod(0o755)
    with pytest.raises(Paused, match="spent") as paused:
        Command(["work"], {}, str(python)).run(lambda line: None)
    assert paused.value.resumes_at == datetime(2026, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(("until", "raised"), [(datetime(2026, 11, 2, tzinfo=UTC), "TaskDeferred"), (None, "Skip")])
def test_a_paused_task_waits_without_a_worker_or_is_skipped(
    monkeypatch: pytest.MonkeyPatch, until: datetime | None, raised: str
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

    from kale_tasks.airflow.operators import WorkOperator

    def pause(*given: object) -> None:
        raise Paused("spent", until)

    operator = WorkOperator(task_id="work", step="dense", fingerprint="f", chunks=[0])
    monkeypatch.setattr(operator, "kale", pause)
    with pytest.raises((TaskDeferred, AirflowSkipException)) as stopped:
        operator.execute({})
    assert raised in type(stopped.value).__name__
    if until:
        assert stopped.value.trigger.moment == until and stopped.value.method_name == "execute_complete"
