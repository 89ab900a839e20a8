"""The other Dags in the same Airflow: approval, takedown, maintenance, reports."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kale_tasks.lake.schemas import TABLES
from kale_tasks.quality.stored import report_path
from kale_tasks.release.built import read
from kale_tasks.release.targets.store import LATEST
from tests.e2e.chain.conftest import Stage
from tests.e2e.chain.person import PAUSE
from tests.services.server import wait_until

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Published:
    """The contents of the published folder."""

    version: str
    uids: frozenset[str]

    @classmethod
    def now(cls, stage: Stage) -> "Published":
        """Read the release that the pointer names."""
        folder = Path(str(stage.settings.publish.target))
        version = json.loads((folder / LATEST).read_text())["version"]
        tables = [pq.read_table(path, columns=["uid"]) for path in (folder / version).rglob("*.parquet")]
        return cls(version, frozenset(uid for table in tables for uid in table["uid"].to_pylist()))


@pytest.fixture(scope="module")
def taken(made: Stage) -> str:
    """The uid of a published caption that a person took down; the release that follows waits for approval."""
    uid: str = made.lake.arrow("captions", made.keys[0], ["uid"])["uid"][0].as_py()
    assert uid in Published.now(made).uids
    listed = made.late.with_name("takedown.txt")
    listed.write_text(f"{uid}\n")
    run = begin(made, "kale_takedown", {"list": str(listed)})
    ended = tasks(made, "kale_takedown", run)
    assert {name: task["state"] for name, task in ended.items()} == {"takedown": "success", "announce": "success"}
    log = made.airflow.rest.get(f"/dags/kale_takedown/dagRuns/{run}/taskInstances/takedown/logs/1?full_content=true")
    assert "takedown.txt" in str(log) and uid not in str(log)
    return uid


def test_a_release_waits_for_a_person_who_sees_what_it_changes_its_card_and_its_report(made: Stage) -> None:
    question = made.person.answered()[0]
    assert "would be the first release" in question["body"]
    assert "| figure | published now | this release |" in question["body"]
    assert "## How it was made" in question["body"]
    report = question["body"].partition("(/kale/report/")[2].partition(")")[0]
    assert made.lake.storage.exists(report_path(report, "html"))
    publish = tasks(made, "kale_release", question["task_instance"]["dag_run_id"])["publish"]
    assert publish["state"] == "success"
    assert question["created_at"] < question["responded_at"] < publish["start_date"]


def test_every_key_has_a_report_once_it_has_captions(made: Stage) -> None:
    runs = made.airflow.rest.get("/dags/kale_quality_report/dagRuns")["dag_runs"]
    assert {run["partition_key"] for run in runs if run["state"] == "success"} == set(made.keys)
    assert all(made.lake.storage.exists(report_path(key, "html")) for key in made.keys)


def test_what_a_person_takes_down_is_in_no_table(made: Stage, taken: str) -> None:
    named = [name for name, spec in TABLES.items() if "uid" in spec.arrow.names]
    left = {name: made.lake.arrow(name, where=f"uid = '{taken}'").num_rows for name in named}
    assert set(left.values()) == {0} and {"pairs", "images", "captions", "dedup_index"} <= set(left)


def test_a_rejected_release_is_not_published_and_an_approved_one_is_free_of_what_was_taken_down(
    made: Stage, taken: str
) -> None:
    before = Published.now(made)
    question = made.person.wait()
    assert "| 0 | 1 | 0 |" in question["body"]  # a row out, none in, none changed
    rejected = tasks(made, "kale_release", question["task_instance"]["dag_run_id"], "Reject")
    assert rejected["publish"]["state"] == "skipped"
    assert Published.now(made) == before
    again = begin(made, "kale_release", {"force": True})
    assert tasks(made, "kale_release", again, "Approve")["publish"]["state"] == "success"
    assert Published.now(made) == Published(read(made.lake, "all").version, before.uids - {taken})


@pytest.mark.nightly
def test_maintenance_finds_nothing_lost_and_loses_nothing(made: Stage) -> None:
    before = {name: made.lake.arrow(name).num_rows for name in TABLES if name != "runs"}
    run = begin(made, "kale_maintenance", {})
    ended = tasks(made, "kale_maintenance", run)
    assert ended.pop("ingest_again")["state"] == "skipped"  # mapped over no key
    assert {task["state"] for task in ended.values()} == {"success"}
    result = "/dags/kale_maintenance/dagRuns/{}/taskInstances/{}/xcomEntries/return_value"
    announced = [made.airflow.rest.get(result.format(run, name))["value"] for name in ended if name != "maintain"]
    assert [str(keys) for keys in announced] == ["[]"] * 5
    assert {name: made.lake.arrow(name).num_rows for name in before} == before


def begin(stage: Stage, dag: str, conf: dict[str, Any]) -> str:
    """Start a run with values of the form, and return its id."""
    rest = stage.airflow.rest
    rest.send("PATCH", f"/dags/{dag}", {"is_paused": False})
    name: str = rest.send("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
    return name


def tasks(stage: Stage, dag: str, run: str, word: str = "") -> dict[str, dict[str, Any]]:
    """Wait until a run has succeeded, answering each question with `word`, and return its tasks by name."""
    path, rest = f"/dags/{dag}/dagRuns/{run}", stage.airflow.rest

    def ended() -> bool:
        if word:
            stage.person.say(word)
        return rest.get(path)["state"] in ("success", "failed")

    wait_until(ended, f"the end of {dag}", 240, pause=PAUSE / 2)
    assert rest.get(path)["state"] == "success"
    return {task["task_id"]: task for task in rest.get(f"{path}/taskInstances")["task_instances"]}
