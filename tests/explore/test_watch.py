"""`kale watch`: what runs in a lake, seen from another process."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kale_tasks.contract import registry as steps
from kale_tasks.explore.watch import follow, running
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from tests.kale import kale
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"


def test_a_run_is_seen_from_its_plan_to_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        steps.STEPS, "ingest", replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    )
    sets = lake_sets("folder", tmp_path)
    lake, settings = lake_of(sets)
    assert running(lake) == [] and kale("watch", "--once", "--json", sets=sets).json == []
    assert kale("watch", "--once", sets=sets).out == "Nothing runs.\n"
    run = Run(Numbers(), lake, settings, KEY)
    made = plan(run)
    (seen,) = running(lake)
    assert (seen.step, seen.key, seen.state, seen.rows, seen.workers) == ("ingest", KEY, "waiting", 0, 0)
    work(run, made.chunks[0])
    (seen,) = running(lake)
    total = sum(chunk.stop - chunk.start for chunk in made.chunks)
    assert (seen.rows, seen.total) == (made.chunks[0].stop - made.chunks[0].start, total)
    (row,) = kale("watch", "--once", "--json", sets=sets).json
    assert row["rows"] == f"{seen.rows} of {total}" and row["state"] == "waiting"
    execute(Run(Numbers(), lake, settings, KEY))
    assert running(lake) == []


def test_a_worker_of_another_process_is_counted_and_its_rate_known(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    lake, _ = lake_of(sets)
    child = subprocess.Popen([sys.executable, "-c", _SLOW, json.dumps(sets)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout and child.stdout.readline() == "working\n"
        for found in follow(lake, 0.3):
            if found and found[0].rate and found[0].rows:
                break
        (seen,) = found
        assert (seen.state, seen.workers) == ("working", 1) and seen.seconds_left
        assert "s" in seen.as_row()["left"] or "min" in seen.as_row()["left"]
    finally:
        child.kill()
        child.wait()


_SLOW = """
import json, sys, time
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.lakes import lake_of
from tests.steps import Numbers

class Slow(Numbers):
    def work(self, run, chunk, numbers):
        print("working", flush=True)
        for part in super().work(run, chunk, numbers):
            time.sleep(0.5)
            yield part

lake, settings = lake_of(json.loads(sys.argv[1]))
execute(Run(Slow(), lake, settings, "2026-11-01"))
"""
