"""What Airflow itself costs for a key: the tasks of steps at 1, 10 and 100 chunks whose work takes no time."""

import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from bench.frame import Page
from kale_tasks.airflow.standalone import StandaloneAirflow, free_port
from kale_tasks.bench.measure import Ratio, Sample

# One step, and the four of the recipe `demo`: three passes and the assembly.
DAGS: Mapping[str, tuple[int, ...]] = {"kale_images": (1, 10, 100), "kale_stage1": (1, 10, 25)}
STEPS = {"kale_images": 1, "kale_stage1": 4}
WORK_MINUTES = 10
# Replaces the interpreter of the steps: prints at once what `kale` would.
_INTERPRETER = f"""#!{sys.executable} -ISE
import json, sys
words = sys.argv[3:]
chunks = int(words[words.index("--key") + 1].split("-")[1]) if "--key" in words else 0
answers = {{
    "plan": {{"fingerprint": "f", "base": None, "chunks": [{{"index": i}} for i in range(chunks)]}},
    "check": {{"status": "passed", "failed": [], "warnings": [], "rows": 0, "table": "images", "seconds": 0}},
    "pending": {{"recipes": {{"demo": {{"stage2": []}}}}, "release": []}},
}}
print(json.dumps(answers.get(words[0], {{}})))
"""
ABOUT = f"""
`kale_images` is one step (plan, work, seal, check, commit, announce), `kale_stage1` the four steps of the recipe
`demo`, one after the other. Their commands return at once. SQLite, PARALLEL tasks at a time. CPU seconds are those of
all Airflow processes, tasks included. *share*: of the wall, if each chunk took {WORK_MINUTES} minutes, one by one.
"""


def main() -> None:
    """Measure and write bench/airflow.md."""
    found: dict[tuple[str, int], tuple[int, Sample]] = {}
    with tempfile.TemporaryDirectory() as folder:
        interpreter = Path(folder, "python")
        interpreter.write_text(_INTERPRETER)
        interpreter.chmod(0o755)
        own = {"KALE_SCHEDULE__PYTHON": str(interpreter), "KALE_SCHEDULE__GPU_TASKS": "1000"}  # a task for each chunk
        environment = {"KALE_PROFILE": "demo", **own}
        airflow = StandaloneAirflow(Path(folder, "airflow"), environment, free_port())
        parallel = airflow.environment["AIRFLOW__CORE__PARALLELISM"]
        page = Page("airflow", "What Airflow costs for a key", ABOUT.replace("PARALLEL", parallel), ["apache-airflow"])
        try:
            airflow.start()
            for dag, sizes in DAGS.items():
                airflow.rest.send("PATCH", f"/dags/{dag}", {"is_paused": False})
                for chunks in sizes:
                    found[dag, chunks] = _measure(airflow, dag, chunks)
        finally:
            airflow.stop()
    header = ["Dag", "chunks a step", "tasks", "wall s", "CPU s", "wall s a task", "CPU s a task", "share"]
    page.table(header, [_row(*key, *value) for key, value in found.items()])
    for chunks in sorted(set(DAGS["kale_images"]) & set(DAGS["kale_stage1"])):
        one, four = (_cpu_a_task(*found[dag, chunks]) for dag in DAGS)
        page.ratio(f"images_over_passes_cpu_a_task_{chunks}", Ratio([one / four], busy=page.busy))
    page.write()


def _row(dag: str, chunks: int, tasks: int, sample: Sample) -> list[object]:
    share = sample.wall / (sample.wall + STEPS[dag] * chunks * WORK_MINUTES * 60)
    return [
        f"`{dag}`", chunks, tasks, f"{sample.wall:.1f}", f"{sample.cpu:.1f}", f"{sample.wall / tasks:.2f}",
        f"{_cpu_a_task(tasks, sample):.2f}", f"{share:.2%}",
    ]  # fmt: skip


def _cpu_a_task(tasks: int, sample: Sample) -> float:
    return sample.cpu / tasks


def _measure(airflow: StandaloneAirflow, dag: str, chunks: int) -> tuple[int, Sample]:
    """Run a Dag on a key; its number of tasks and what it took."""
    before, started = _cpu(airflow), time.monotonic()
    run = airflow.rest.send(
        "POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "partition_key": f"chunks-{chunks}"}
    )["dag_run_id"]
    while (state := airflow.rest.get(f"/dags/{dag}/dagRuns/{run}")["state"]) in ("queued", "running"):
        time.sleep(0.5)
    if state != "success":
        raise SystemExit(f"the run of {dag} with {chunks} chunks ended as {state}")
    tasks = airflow.rest.get(f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=1")["total_entries"]
    return tasks, Sample(time.monotonic() - started, _cpu(airflow) - before)


def _cpu(airflow: StandaloneAirflow) -> float:
    total = 0.0
    for group in airflow.groups.values():
        for process in (root := psutil.Process(group.pid), *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a task that has just ended: its parent's times hold its own
                times = process.cpu_times()
                total += times.user + times.system + (times.children_user + times.children_system)
    return total


if __name__ == "__main__":
    main()
