"""`kale demo` leaves no process behind when it is interrupted, and its last lines are true."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kale_tasks.airflow.standalone import free_port
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from kale_tasks.world.demo.results import next_steps
from tests.distill.small import CommitRows
from tests.services.server import wait_until

INTERRUPTED = 130


def processes(folder: Path) -> list[psutil.Process]:
    """Every process of the Airflow in a folder."""
    groups = json.loads((folder / "airflow" / "pids.json").read_text())
    parents = [psutil.Process(group["pid"]) for group in groups if psutil.pid_exists(group["pid"])]
    return [process for parent in parents for process in (parent, *parent.children(recursive=True))]


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_demo_interrupted_twice_exits_with_130_and_leaves_no_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["demo", "--folder", str(tmp_path), "--port", str(free_port()), "--keys", "1", "--pairs", "20", "--stay"]
    with log.open("wb") as out:
        demo = subprocess.Popen([sys.executable, "-u", "-m", "kale_tasks", *words], stdout=out, stderr=out)
    try:
        # Components that are still starting would end too quickly for a second interrupt.
        wait_until(lambda: "password kale" in log.read_text(), "Airflow", 240, lambda: demo.poll() is None)
        started = processes(tmp_path)
        demo.send_signal(signal.SIGINT)
        wait_until(lambda: "Stopping Airflow" in log.read_text(), "the demonstration to stop", 30)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == INTERRUPTED, log.read_text()
        wait_until(lambda: not [p for p in started if p.is_running()], "the end of all processes", 10)
        assert len(started) >= 4
    finally:
        demo.kill()


def test_the_last_lines_name_no_release_that_does_not_exist_and_say_why(tmp_path: Path) -> None:
    overrides = [f"warehouse={tmp_path}/lake", f"landing={tmp_path}/landing", f"publish.target={tmp_path}/published"]
    settings = load(environ={}, overrides=overrides).settings
    lake = Lake(settings)
    assert "too few captions" in "\n".join(next_steps(lake, settings))
    refused = {
        "version": "0" * 16, "key": "all", "path": "", "base": "", "recipe": "demo", "rows": 1, "steps": 1, "code": "",
        "accepted": False, "verdict": "Refused. description: 0.760 of its teacher's (at least 0.9).",
        "parents": "{}", "config": "{}", "metrics": "{}", "files": "{}",
    }  # fmt: skip
    execute(Run(CommitRows("distill", "models", {}, [refused]), lake, settings, "all"))
    text = "\n".join(next_steps(lake, settings))
    assert "description: 0.760" in text and "No release was published" in text
    assert f"Release: {tmp_path}" not in text
    (tmp_path / "published").mkdir()
    assert f"Release: {tmp_path}/published" in "\n".join(next_steps(lake, settings))
