"""Records finished Dag runs in the ledger. The scheduler calls this, so it must not block or import heavy modules."""

import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_SECONDS = 300  # timeout of one write to the ledger
_log = logging.getLogger(__name__)
_ended: "queue.SimpleQueue[str]" = queue.SimpleQueue()


@hookimpl
def on_dag_run_success(dag_run: "DagRun") -> None:
    """Queue the run. Called inside a transaction of the scheduler or the api-server."""
    _enqueue(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: "DagRun") -> None:
    """Queue the run. Called inside a transaction of the scheduler or the api-server."""
    _enqueue(dag_run)


def _enqueue(run: "DagRun") -> None:
    if run.dag_id.startswith(f"{_prefix()}_"):
        _ended.put(json.dumps(_facts(run)))
        _writer(os.getpid())


def _facts(run: "DagRun") -> dict[str, Any]:
    tasks, tries = _tasks(run)
    started, ended = run.start_date or run.end_date, run.end_date
    assert started and ended
    return {
        "dag": run.dag_id,
        "run": run.run_id,
        "key": run.partition_key or (run.conf or {}).get("key"),
        "state": str(run.state),
        "queued_at": (run.queued_at or started).isoformat(),
        "started_at": started.isoformat(),
        "ended_at": ended.isoformat(),
        "tasks": tasks,
        "tries_again": tries,
        "clears": run.clear_number,
        "by": run.triggered_by.value if run.triggered_by else None,
        "user": run.triggering_user_name,
    }


def _tasks(run: "DagRun") -> tuple[int, int]:
    """Count the tasks of a run, and their tries beyond the first."""
    from airflow.models.taskinstance import TaskInstance as Task
    from sqlalchemy import case, func, select
    from sqlalchemy.orm import object_session

    session = object_session(run)
    assert session
    tries = func.sum(case((Task.try_number > 1, Task.try_number - 1), else_=0))
    query = select(func.count(), tries).where(Task.dag_id == run.dag_id, Task.run_id == run.run_id)
    with session.no_autoflush:  # pending changes belong to the scheduler
        count, again = session.execute(query).one()
    return count, again or 0


@cache
def _prefix() -> str:
    from kale_tasks.settings import load

    return load().settings.schedule.prefix


@cache
def _writer(pid: int) -> threading.Thread:
    # One per process: a thread does not survive a fork.
    thread = threading.Thread(target=_write_forever, name="kale-ledger", daemon=True)
    thread.start()
    return thread


def _write_forever() -> None:
    while True:
        lines = [_ended.get()]
        while not _ended.empty():
            lines.append(_ended.get())
        try:
            _write(lines)
        except Exception as error:
            _log.warning("Could not record %d Dag runs in the ledger: %s", len(lines), error)


def _write(lines: list[str]) -> None:
    """Run `kale note`, which finishes its work even if this process ends."""
    from kale_tasks.airflow.hook import KaleHook
    from kale_tasks.process import command_environment, start_process, stop_process
    from kale_tasks.settings import load

    of = load().settings.schedule
    with tempfile.TemporaryFile("w+") as facts:
        facts.write("\n".join(lines))
        facts.seek(0)
        process = start_process(
            [of.python or sys.executable, "-m", "kale_tasks", "note"],
            environment=command_environment(KaleHook(of.connection).environment()),
            outlives_parent=True,
            stdin=facts,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, errors = process.communicate(timeout=_SECONDS)
        finally:
            code = stop_process(process)
    if code:
        raise RuntimeError(errors.decode(errors="replace").strip().rpartition("\n")[2])
