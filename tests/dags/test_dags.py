"""Every Dag is light to parse, documented, and survives serialization."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).parents[2] / "dags"
HEAVY = ("torch", "vllm", "pyspark", "pandas", "pyarrow", "great_expectations", "transformers", "duckdb")
_PARSE = f"""
import json, sys, time
import airflow.sdk
started = time.process_time()
import importlib.util
for path in {sorted(map(str, DAGS.glob("*.py")))!r}:
    spec = importlib.util.spec_from_file_location("parsed", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
spent = time.process_time() - started
print(json.dumps({{"seconds": spent, "heavy": [m for m in {HEAVY!r} if m in sys.modules]}}))
"""


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    """Every Dag, loaded as Airflow loads it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(DAGS), bundle_path=DAGS)
    assert not bag.import_errors
    return dict(bag.dags)


def test_every_file_makes_the_dag_of_its_name(dags: dict[str, Any]) -> None:
    assert sorted(dags) == sorted(path.stem for path in DAGS.glob("*.py"))


def test_all_dags_parse_in_five_seconds_without_heavy_imports() -> None:
    done = subprocess.run([sys.executable, "-c", _PARSE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["heavy"] == []
    assert found["seconds"] < 5


def test_every_dag_and_task_is_documented(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert dag.doc_md and dag.description and dag.dag_display_name.startswith("KALE") and "kale" in dag.tags
        assert [task.task_id for task in dag.tasks if not task.doc_md] == [], dag.dag_id


def test_a_dag_survives_serialization(dags: dict[str, Any]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags.values():
        written = DagSerialization.to_dict(dag)
        read = DagSerialization.from_dict(json.loads(json.dumps(written)))
        assert sorted(read.task_ids) == sorted(dag.task_ids)
        assert {t: sorted(read.get_task(t).downstream_task_ids) for t in read.task_ids} == {
            t: sorted(dag.get_task(t).downstream_task_ids) for t in dag.task_ids
        }


def test_rows_are_committed_after_their_checks_and_announced_by_the_commit(dags: dict[str, Any]) -> None:
    for dag, step in (("kale_ingest", "ingest"), ("kale_stage1", "dense"), ("kale_stage1", "fuse")):
        order = [dags[dag].get_task(f"{step}.{verb}") for verb in ("plan", "work", "seal", "check", "commit")]
        for task, after in pairwise(order):
            assert after.task_id in task.downstream_task_ids
    emitting = {(dag.dag_id, t.task_id) for dag in dags.values() for t in dag.tasks if t.outlets}
    commits = {(dag, task) for dag, task in emitting if not task.startswith("announce") and task != "tick"}
    assert commits == {
        ("kale_ingest", "ingest.commit"),
        ("kale_images", "images.commit"),
        ("kale_stage1", "fuse.commit"),
        ("kale_stage2", "student.commit"),
    }


def test_tasks_that_need_a_gpu_use_its_pool(dags: dict[str, Any]) -> None:
    pools = {t.task_id: t.pool for dag in dags.values() for t in dag.tasks if t.task_id.endswith((".work", "distill"))}
    assert {task for task, pool in pools.items() if pool == "gpu"} == {
        "dense.work",
        "fused.work",
        "distill",
        "student.work",
    }
    assert pools["ingest.work"] == "spark"


def test_dags_whose_keys_depend_on_each_other_have_one_active_run(dags: dict[str, Any]) -> None:
    for dag in ("kale_ingest", "kale_distill", "kale_release"):
        assert dags[dag].max_active_runs == 1


def test_temporary_failures_are_retried_and_bad_data_is_not(dags: dict[str, Any]) -> None:
    from airflow.sdk import RetryAction

    from kale_tasks.errors import BadConfig, BadData, Conflict, Transient

    policy = dags["kale_ingest"].get_task("ingest.plan").retry_policy
    for error in (BadConfig("x"), BadData("x"), Conflict("x")):
        assert policy.evaluate(error, 1, 3).action is RetryAction.FAIL
    assert policy.evaluate(Transient("x"), 1, 3).action is RetryAction.RETRY


_ALL_SET = """
import json
import os
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag("dags", bundle_path="dags")
assert not bag.import_errors, bag.import_errors
for dag in bag.dags.values():
    DagSerialization.from_dict(DagSerialization.to_dict(dag))
release, distill = bag.dags["kale_release"], bag.dags["kale_distill"]
print(json.dumps({
    "approve": [release.get_task("approve").execution_timeout, sorted(release.get_task("approve").downstream_task_ids)],
    "late": [len(dag.deadline) for dag in bag.dags.values()],
    "failure": [task.on_failure_callback[0].__name__ for task in release.tasks],
    "queue": distill.get_task("distill").queue,
    "executor": distill.get_task("distill").executor,
}))
"""


def test_every_setting_of_the_schedule_reaches_the_dags() -> None:
    given = {
        "KALE_SCHEDULE__APPROVE": "true",
        "KALE_SCHEDULE__ON_LATE": "tests.dags.callbacks.late",
        "KALE_SCHEDULE__ON_FAILURE": "tests.dags.callbacks.failed",
        "KALE_SCHEDULE__QUEUE": "gpu",
        "KALE_SCHEDULE__EXECUTOR": "LocalExecutor",
    }
    command = [sys.executable, "-c", _ALL_SET]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **given}, cwd=DAGS.parent
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["approve"] == [None, ["publish"]]  # a person may take longer than any task
    assert set(found["late"]) == {1}
    assert set(found["failure"]) == {"failed"}
    assert (found["queue"], found["executor"]) == ("gpu", "LocalExecutor")


def test_a_scheduled_run_ingests_the_day_that_has_ended(dags: dict[str, Any]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dags["kale_ingest"])).timetable
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    info = None
    for run in (begin, begin + timedelta(days=1), begin + timedelta(days=2)):
        restriction = TimeRestriction(earliest=begin, latest=None, catchup=True)
        info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        assert info
        assert (info.run_after, info.partition_key) == (run, str((run - timedelta(days=1)).date()))
