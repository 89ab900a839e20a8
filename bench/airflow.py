"""What Airflow itself costs for a key: the tasks of one step at 1, 10 and 100 chunks whose work takes no time."""

import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from kale_tasks.airflow.standalone import StandaloneAirflow, free_port

CHUNKS = (1, 10, 100)
DAG = "kale_images"
WORK_MINUTES = 10
# Replaces the interpreter of the steps: prints at once what `kale` would.
_INTERPRETER = f"""#!{sys.executable} -ISE
import json, sys
words = sys.argv[3:]
chunks = int(words[words.index("--key") + 1].split("-")[1]) if "--key" in words else 0
answers = {{
    "plan": {{"fingerprint": "f", "base": None, "chunks": [{{"index": i}} for i in range(chunks)]}},
    "check": {{"status": "passed", "failed": [], "warnings": [], "rows": 0, "table": "images", "seconds": 0}},
    "pending": {{"stage2": []}},
}}
print(json.dumps(answers.get(words[0], {{}})))
"""


def main() -> None:
    """Measure and write bench/airflow.md."""
    with tempfile.TemporaryDirectory() as folder:
        interpreter = Path(folder, "python")
        interpreter.write_text(_INTERPRETER)
        interpreter.chmod(0o755)
        environment = {"KALE_PROFILE": "demo", "KALE_SCHEDULE__PYTHON": str(interpreter)}
        airflow = StandaloneAirflow(Path(folder, "airflow"), environment, free_port())
        try:
            airflow.start()
            airflow.rest.send("PATCH", f"/dags/{DAG}", {"is_paused": False})
            rows = [_measure(airflow, chunks) for chunks in CHUNKS]
        finally:
            airflow.stop()
    _write(rows, int(airflow.environment["AIRFLOW__CORE__PARALLELISM"]))


def _measure(airflow: StandaloneAirflow, chunks: int) -> dict[str, Any]:
    before, started = _cpu(airflow), time.monotonic()
    run = airflow.rest.send(
        "POST", f"/dags/{DAG}/dagRuns", {"logical_date": None, "partition_key": f"chunks-{chunks}"}
    )["dag_run_id"]
    while (state := airflow.rest.get(f"/dags/{DAG}/dagRuns/{run}")["state"]) in ("queued", "running"):
        time.sleep(0.5)
    if state != "success":
        raise SystemExit(f"the run with {chunks} chunks ended as {state}")
    tasks = airflow.rest.get(f"/dags/{DAG}/dagRuns/{run}/taskInstances?limit=1")["total_entries"]
    return {"chunks": chunks, "tasks": tasks, "wall": time.monotonic() - started, "cpu": _cpu(airflow) - before}


def _cpu(airflow: StandaloneAirflow) -> float:
    total = 0.0
    for group in airflow.groups.values():
        for process in (root := psutil.Process(group.pid), *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a task that has just ended: its parent's times hold its own
                times = process.cpu_times()
                total += times.user + times.system + (times.children_user + times.children_system)
    return total


def _write(rows: list[dict[str, Any]], parallel: int) -> None:
    lines = [
        "# What Airflow costs for a key",
        "",
        f"`{DAG}` (plan, work, commit, check, announce) with commands that return at once, on SQLite,",
        f"{parallel} tasks at a time. Machine: 2 cores, 24 GB. CPU seconds are those of all Airflow processes, tasks",
        f"included. The last column: its share of the wall if each chunk took {WORK_MINUTES} minutes, one by one.",
        "",
        "| chunks | tasks | wall s | CPU s | wall s a task | share of the wall |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        share = row["wall"] / (row["wall"] + row["chunks"] * WORK_MINUTES * 60)
        lines.append(
            f"| {row['chunks']} | {row['tasks']} | {row['wall']:.1f} | {row['cpu']:.1f} "
            f"| {row['wall'] / row['tasks']:.2f} | {share:.2%} |"
        )
    print("\n".join(lines))
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
