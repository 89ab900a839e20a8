"""The chain of Dags as a person would start it: unpause, backfill, and see how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kale_tasks.errors import KaleError
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.world.demo.rest import Rest

DAGS = (
    "kale_ingest",
    "kale_images",
    "kale_stage1",
    "kale_distill",
    "kale_stage2",
    "kale_release",
    "kale_quality_report",
)
_DONE = ("success", "failed", "skipped", "upstream_failed", "removed")
_BUSY = ("queued", "running")


@dataclass(frozen=True)
class Cell:
    """The newest run of a Dag for a key."""

    dag: str
    key: str
    state: str
    task: str  # what runs at this moment, or what failed


class Chain:
    """What happens from now on; runs that had ended before do not count."""

    def __init__(self, rest: Rest, keys: Sequence[str]) -> None:
        self._rest, self.keys = rest, keys
        self._old = self._ended()

    def unpause(self) -> None:
        """Let the Dags run; a backfill that was interrupted is not gone on with."""
        for backfill in self._rest.get(f"/backfills?dag_id={DAGS[0]}")["backfills"]:
            if not backfill["completed_at"]:
                self._rest.send("PUT", f"/backfills/{backfill['id']}/cancel")
        self._old = self._ended()
        for dag in DAGS:
            self._rest.send("PATCH", f"/dags/{dag}", {"is_paused": False})

    def backfill(self) -> None:
        """Backfill the keys, those that were made before too."""
        body = {
            "dag_id": "kale_ingest",
            "from_date": f"{min(self.keys)}T00:00:00Z",
            "to_date": f"{max(self.keys)}T00:00:00Z",
            "reprocess_behavior": "completed",
            "max_active_runs": 1,  # a key is deduplicated against those before it
        }
        self._rest.send("POST", "/backfills", body)

    def look(self) -> list[Cell]:
        """A cell for every Dag and key that has a run."""
        newest: dict[tuple[str, str], dict[str, Any]] = {}
        for run in self._runs():
            if run["dag_run_id"] not in self._old and run["partition_key"] in (*self.keys, ALL_KEYS):
                newest[run["dag_id"], run["partition_key"]] = run
        tasks = self._tasks()
        return [
            Cell(dag, key, run["state"], tasks.get((dag, run["dag_run_id"]), "")) for (dag, key), run in newest.items()
        ]

    def finished(self, cells: Sequence[Cell]) -> bool:
        """Whether every key has begun and nothing is left to run; KaleError if something failed."""
        if failed := [cell for cell in cells if cell.state == "failed"]:
            cell = failed[0]
            raise KaleError(f"{cell.dag} failed for {cell.key}{f' in {cell.task}' if cell.task else ''}; see its log.")
        begun = {cell.key for cell in cells if cell.dag == DAGS[0]}
        return begun >= set(self.keys) and not any(cell.state in _BUSY for cell in cells)

    def _ended(self) -> set[str]:
        return {run["dag_run_id"] for run in self._runs() if run["state"] not in _BUSY}

    def _runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._rest.get("/dags/~/dagRuns?limit=500&order_by=id")["dag_runs"]
        return found

    def _tasks(self) -> dict[tuple[str, str], str]:
        states = "&".join(f"state={state}" for state in ("running", "deferred", "failed", "awaiting_input"))
        found = self._rest.get(f"/dags/~/dagRuns/~/taskInstances?limit=500&{states}")["task_instances"]
        return {(t["dag_id"], t["dag_run_id"]): _task(t) for t in found}


def _task(told: dict[str, Any]) -> str:
    chunk = f" {told['map_index']}" if told["map_index"] >= 0 else ""
    return f"{told['task_id']}{chunk}"
