"""Finds the processes that work for a chain and kills them."""

import time
from contextlib import suppress
from pathlib import Path

import psutil

from kale_tasks.airflow.standalone import StandaloneAirflow
from tests.services.server import wait_until

_PATIENCE = 600
_PAUSE = 0.3  # each look reads about all processes of the machine


def at_work(airflow: StandaloneAirflow, step: str) -> psutil.Process:
    """Wait for a command that works on a chunk of a step, and return it."""
    found: list[psutil.Process] = []

    def works() -> bool:
        found[:] = [p for p in _commands(airflow) if _line(p)[3:5] == ["work", step]]
        return bool(found)

    wait_until(works, f"work on {step}", _PATIENCE, pause=_PAUSE)
    return found[0]


def kill_half_done(airflow: StandaloneAirflow, step: str, folder: Path) -> dict[Path, int]:
    """Kill a command that has made some parts of a step, and return the finished parts."""
    while True:
        process = at_work(airflow, step)
        of_run = next(folder.glob(f"key=*/{_option(process, '--fingerprint')}"), folder / "none")
        while process.is_running() and not parts(of_run):
            time.sleep(0.05)
        with suppress(psutil.NoSuchProcess):  # it ended by itself
            process.kill()
            return parts(of_run)


def kill_supervisor(airflow: StandaloneAirflow, step: str) -> psutil.Process:
    """Kill the supervisor of the task that works on a step, and return the command of that task."""
    command = at_work(airflow, step)
    command.parent().parent().kill()
    return command


def parts(folder: Path) -> dict[Path, int]:
    """List the finished parts below a folder with their modification times."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("part-*.parquet")}


def _commands(airflow: StandaloneAirflow) -> list[psutil.Process]:
    tasks = psutil.Process(airflow.groups["scheduler"].pid).children(recursive=True)
    return [p for p in tasks if "kale_tasks" in _line(p)]


def _option(process: psutil.Process, name: str) -> str:
    line = _line(process)
    return line[line.index(name) + 1] if name in line else ""


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []
