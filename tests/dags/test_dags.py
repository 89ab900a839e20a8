"""Every Dag is light to parse, documented, and survives serialization."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.settings import load

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
    for dag, step in (("kale_images", "images"), ("kale_stage1", "dense"), ("kale_stage1", "fuse")):
        order = [dags[dag].get_task(f"{step}.{verb}") for verb in ("plan", "work", "seal", "check", "commit")]
        for task, after in pairwise(order):
            assert after.task_id in task.downstream_task_ids
    emitting = {(dag.dag_id, t.task_id) for dag in dags.values() for t in dag.tasks if t.outlets}
    commits = {(dag, task) for dag, task in emitting if not task.startswith("announce") and task != "tick"}
    assert commits == {
        ("kale_ingest", "ingest"),
        ("kale_images", "images.commit"),
        ("kale_stage1", "fuse.commit"),
        ("kale_stage2", "student.commit"),
    }


def test_heavy_tasks_use_their_pools(dags: dict[str, Any]) -> None:
    pools = {(t.pool, t.task_id) for dag in dags.values() for t in dag.tasks if t.pool != "default_pool"}
    assert pools == {
        ("gpu", "dense.work"),
        ("gpu", "fused.work"),
        ("gpu", "distill"),
        ("gpu", "run"),
        ("gpu", "student.work"),
        ("gpu", "canary"),
        ("spark", "ingest"),
        ("fetch", "images.work"),
    }


def test_what_is_made_of_all_keys_has_one_active_run_and_a_waiting_key_holds_up_no_other(dags: dict[str, Any]) -> None:
    one = {name for name, dag in dags.items() if dag.max_active_runs == 1}
    made_of_all = {"kale_distill", "kale_evaluate", "kale_release", "kale_maintenance", "kale_takedown"}
    assert one == {*made_of_all, "kale_canary"}
    assert dags["kale_ingest"].max_active_runs == 64
    assert dags["kale_ingest"].get_task("landing").pool == "default_pool"  # the pool of one slot is for the step alone


def test_the_key_is_the_first_field_of_a_form(dags: dict[str, Any]) -> None:
    asked = {name: list(dag.params) for name, dag in dags.items() if dag.params}
    keyed = {"kale_ingest", "kale_images", "kale_stage1", "kale_stage2", "kale_canary"}
    assert {name for name, fields in asked.items() if fields[0] == "key"} == keyed
    assert asked["kale_takedown"] == ["list", "end"]
    assert asked["kale_evaluate"] == ["design"]


def test_each_arm_and_seed_of_an_evaluation_is_a_mapped_task(dags: dict[str, Any]) -> None:
    dag = dags["kale_evaluate"]
    assert dag.get_task("run").is_mapped
    assert dag.get_task("run").downstream_task_ids == {"report"}
    assert dag.get_task("pending").arguments[-1] == "--list"


def test_a_form_offers_the_latest_keys_that_have_landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kale_tasks.airflow.forms import key_form

    for name in ("2026-11-01", "2026-11-02", ".hidden"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("KALE_LANDING", str(tmp_path))
    assert key_form()["key"].schema["examples"] == ["2026-11-02", "2026-11-01"]
    for landing in (str(tmp_path / "nowhere"), "s3://bucket/landing"):
        monkeypatch.setenv("KALE_LANDING", landing)
        assert key_form()["key"].schema["examples"] == []


def test_temporary_failures_are_retried_and_bad_data_is_not(dags: dict[str, Any]) -> None:
    from airflow.sdk import RetryAction

    from kale_tasks.errors import BadConfig, BadData, Blocked, Conflict, Transient

    policy = dags["kale_images"].get_task("images.plan").retry_policy
    for error in (BadConfig("x"), BadData("x"), Conflict("x"), Blocked("x", "f")):
        assert policy.evaluate(error, 1, 3).action is RetryAction.FAIL
    assert policy.evaluate(Transient("x"), 1, 3).action is RetryAction.RETRY


_SHAPE = """
import json
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
found = {}
for name in ("kale_distill", "kale_stage2"):
    bag = DagBag(f"dags/{name}.py", bundle_path="dags")
    assert not bag.import_errors, bag.import_errors
    DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[name]))
    for task in bag.dags[name].tasks:
        assert task.doc_md
        found[task.task_id] = [sorted(task.downstream_task_ids), task.trigger_rule, task.pool, task.is_mapped]
print(json.dumps(found))
"""


def shape_of(holdout: bool, recipe: str) -> dict[str, list[Any]]:
    """What follows each task of two Dags, when it starts, its pool, and whether it is mapped."""
    given = {"KALE_SCHEDULE__HOLDOUT": str(holdout).lower(), "KALE_CAPTION__RECIPE": recipe}
    command = [sys.executable, "-c", _SHAPE]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **given}, cwd=DAGS.parent
    )
    found: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_holdout_and_sample_are_captioned_before_a_student_is_trained_and_checked_if_that_is_wanted() -> None:
    with_both, without = shape_of(True, "kale"), shape_of(False, "demo")
    assert with_both["due"][0] == ["lacking"] and with_both["lacking"][0] == ["distill", "holdout"]
    assert with_both["holdout"] == [["distill"], "all_success", "gpu", True]
    assert with_both["distill"][1] == "none_failed_min_one_success"  # a holdout without a key is skipped
    assert with_both["sampled"] == [["student.plan"], "all_success", "gpu", False]
    assert not {"lacking", "holdout", "sampled"} & without.keys() and without["due"][0] == ["distill"]


def test_a_training_may_go_on_over_several_tasks(dags: dict[str, Any]) -> None:
    train, other = (dags["kale_distill"].get_task(name) for name in ("distill", "announce"))
    of = load(environ={}).settings.schedule
    assert train.retries == other.retries + of.distill_tasks - 1 and of.distill_tasks > 1
    assert train.execution_timeout == timedelta(hours=of.task_hours)


_ALL_SET = """
import json
import os
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag("dags", bundle_path="dags")
assert not bag.import_errors, bag.import_errors
for dag in bag.dags.values():
    DagSerialization.from_dict(DagSerialization.to_dict(dag))
release, distill, ingest = (bag.dags[f"staging_{name}"] for name in ("release", "distill", "ingest"))
print(json.dumps({
    "ids": sorted(bag.dags),
    "assets": sorted({(o.name, o.uri) for dag in bag.dags.values() for task in dag.tasks for o in task.outlets}),
    "connections": [getattr(task, "kale_conn_id", "none") for dag in bag.dags.values() for task in dag.tasks],
    "pools": [ingest.get_task("ingest").pool, distill.get_task("distill").pool],
    "tags": sorted({tag for dag in bag.dags.values() for tag in dag.tags}),
    "config": [distill.get_task("distill").executor_config, ingest.get_task("ingest").executor_config],
    "approve": [release.get_task("approve").execution_timeout, sorted(release.get_task("approve").downstream_task_ids)],
    "late": [len(dag.deadline) for dag in bag.dags.values()],
    "failure": [task.on_failure_callback[0].__name__ for task in release.tasks],
    "queue": distill.get_task("distill").queue,
    "executor": distill.get_task("distill").executor,
    "student": [sorted(distill.get_task("distill").downstream_task_ids), distill.get_task("publish").arguments],
}))
"""


def test_every_setting_of_the_schedule_reaches_the_dags() -> None:
    given = {
        "KALE_SCHEDULE__PREFIX": "staging",
        "KALE_SCHEDULE__PUBLISH_STUDENT": "true",
        "KALE_SCHEDULE__CONNECTION": "kale_staging",
        "KALE_SCHEDULE__POOLS__SPARK": "staging_spark",
        "KALE_SCHEDULE__EXECUTOR_CONFIG__GPU": "{pod_template_file: gpu.yaml}",
        "KALE_SCHEDULE__EXECUTOR_CONFIG__OTHER": "{KubernetesExecutor: {namespace: kale}}",
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
    assert found["ids"] == sorted(path.stem.replace("kale_", "staging_", 1) for path in DAGS.glob("*.py"))
    assert ["staging/pairs", "kale://staging/pairs"] in found["assets"]
    assert {name.split("/")[0] for name, _ in found["assets"]} == {"staging"}
    assert set(found["connections"]) == {"kale_staging", "none"}  # the clock has none
    assert found["pools"] == ["staging_spark", "gpu"]
    assert "staging" in found["tags"] and "kale" not in found["tags"]
    assert found["config"] == [{"pod_template_file": "gpu.yaml"}, {"KubernetesExecutor": {"namespace": "kale"}}]
    assert found["approve"] == [None, ["publish"]]  # a person may take longer than any task
    assert set(found["late"]) == {1}
    assert set(found["failure"]) == {"failed"}
    assert (found["queue"], found["executor"]) == ("gpu", "LocalExecutor")
    assert found["student"] == [["announce", "publish"], ["publish", "--student"]]


_TWO_BUNDLES = """
import sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="staging")
assert not bag.import_errors, bag.import_errors
print(*sorted(bag.dags))
"""


def test_a_bundle_with_a_profile_makes_dags_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(DAGS, tmp_path / "dags")
    (tmp_path / "dags" / "kale_profile.yaml").write_text("schedule: {prefix: staging, connection: kale_staging}\n")
    command = [sys.executable, "-c", _TWO_BUNDLES, str(tmp_path / "dags")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    made = done.stdout.splitlines()[-1].split()
    assert made == sorted(path.stem.replace("kale_", "staging_", 1) for path in DAGS.glob("*.py"))


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
