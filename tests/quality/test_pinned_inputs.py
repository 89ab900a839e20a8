"""Checks compare a run with the inputs that it was made from, whatever has been committed since."""

from pathlib import Path
from typing import cast

import pytest

from kale_tasks.contract.step import Step
from kale_tasks.quality.check import examine
from kale_tasks.quality.suite import Subject
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import seal
from kale_tasks.runner.verbs import plan, work
from tests.quality.defects import each
from tests.quality.world import World, commit, given, open_world


@pytest.mark.parametrize("engine", ["pandas", pytest.param("spark", marks=pytest.mark.nightly)])
def test_an_input_that_is_replaced_after_the_plan_is_not_looked_at(tmp_path: Path, engine: str) -> None:
    lake, world = open_world(tmp_path, **{"quality.engine": engine}), World("k", pairs=60)
    commit(lake, world, "ingest")
    run = Run(cast("Step", given(lake, world, "images")), lake, lake.settings, "k")
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    commit(lake, World("k", seed=1, pairs=40), "ingest")  # other pairs, and fewer
    result = examine(Subject.of_sealed(lake, lake.settings, seal(run, made)))
    assert result.figures["orphans"] == result.figures["rows_unread"] == 0
    assert [check.name for check in result.checks if check.status == "failed"] == ["inputs_stale"]


def test_a_missing_row_of_the_pinned_input_is_found_although_the_current_one_has_as_few(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k", pairs=60)
    commit(lake, world, "ingest")
    commit(lake, world, "images", lambda rows: rows[:40], dropped=0)  # 20 of the 60 pairs were not read
    commit(lake, world, "ingest", lambda rows: rows[:40])
    found = examine(Subject.of_committed(lake, lake.settings, "images", "k"))
    assert found.figures["rows_unread"] == 20


def test_a_run_whose_plan_is_gone_is_compared_with_what_is_committed(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k", pairs=60)
    commit(lake, world, "ingest")
    commit(lake, world, "images")
    for entry in list(lake.storage.entries("images/key=k")):
        if entry.path.endswith("/plan.json"):
            lake.storage.delete(entry.path)
    commit(lake, world, "ingest", each(split=lambda row: "holdout"))
    found = examine(Subject.of_committed(lake, lake.settings, "images", "k"))
    assert found.figures["split_changed"] > 0 and found.figures["rows_unread"] is None
