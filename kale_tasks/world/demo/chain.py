"""Drives the chain of Dags through Airflow's REST API: unpause, backfill, and read the state of the runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kale_tasks.airflow.rest import AirflowRest
from kale_tasks.errors import KaleError
from kale_tasks.lake.keys import ALL_KEYS

# Each Dag of the chain and the step whose rows it makes; "" makes none.
STEP_OF = {
    "kale_ingest": "ingest",
    "kale_images": "images",
    "kale_stage1": "fuse",
    "kale_distill": "distill",
    "kale_stage2": "student",
    "kale_release": "release",
    "kale_quality_report": "",
}
DAGS = tuple(STEP_OF)
_BUSY = ("queued", "running")


@dataclass(frozen=True)
class Cell:
    """The latest run of a Dag for a key."""

    dag: str
    key: str
    state: str
    task: str  # a task that is running or has failed; empty if there is none


class Chain:
    """The runs of the chain that started after this object was created, or were active then."""

    def __init__(self, rest: AirflowRest, keys: Sequence[str]) -> None:
        self._rest, self.keys = rest, keys
        self._earlier = self._finished_runs()

    def unpause(self) -> None:
        """Unpause all Dags, and cancel a backfill that an earlier demonstration left unfinished."""
        for backfill in self._rest.get(f"/backfills?dag_id={DAGS[0]}")["backfills"]:
            if not backfill["completed_at"]:
                self._rest.send("PUT", f"/backfills/{backfill['id']}/cancel")
        self._earlier = self._finished_runs()
        for dag in DAGS:
            self._rest.send("PATCH", f"/dags/{dag}", {"is_paused": False})

    def backfill(self) -> None:
        """Backfill the keys, including those that have a run already."""
        body = {
            "dag_id": "kale_ingest",
            "from_date": f"{min(self.keys)}T00:00:00Z",
            "to_date": f"{max(self.keys)}T00:00:00Z",
            "reprocess_behavior": "completed",
            "max_active_runs": 1,  # a key is deduplicated against the keys before it
        }
        self._rest.send("POST", "/backfills", body)

    def cells(self) -> list[Cell]:
        """Return the latest run of every Dag and key that has one."""
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        for run in self._runs():
            if run["dag_run_id"] not in self._earlier and run["partition_key"] in (*self.keys, ALL_KEYS):
                latest[run["dag_id"], run["partition_key"]] = run
        tasks = self._tasks()
        return [
            Cell(dag, key, run["state"], tasks.get((dag, run["dag_run_id"]), "")) for (dag, key), run in latest.items()
        ]

    def finished(self, cells: Sequence[Cell]) -> bool:
        """Whether every key has started and nothing is queued or running. Raises KaleError if a run has failed."""
        if failed := [cell for cell in cells if cell.state == "failed"]:
            cell = failed[0]
            raise KaleError(f"{cell.dag} failed for {cell.key}{f' in {cell.task}' if cell.task else ''}; see its log.")
        started = {cell.key for cell in cells if cell.dag == DAGS[0]}
        return started >= set(self.keys) and not any(cell.state in _BUSY for cell in cells)

    def _finished_runs(self) -> set[str]:
        return {run["dag_run_id"] for run in self._runs() if run["state"] not in _BUSY}

    def _runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self._rest.get("/dags/~/dagRuns?limit=500&order_by=id")["dag_runs"]
        return runs

    def _tasks(self) -> dict[tuple[str, str], str]:
        states = "&".join(f"state={state}" for state in ("running", "deferred", "failed", "awaiting_input"))
        tasks = self._rest.get(f"/dags/~/dagRuns/~/taskInstances?limit=500&{states}")["task_instances"]
        return {(task["dag_id"], task["dag_run_id"]): _name(task) for task in tasks}


def _name(task: dict[str, Any]) -> str:
    chunk = f" {task['map_index']}" if task["map_index"] >= 0 else ""
    return f"{task['task_id']}{chunk}"
