"""Tasks report to OpenLineage what they read, wrote and checked, and link to the pages of their key."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
from airflow.sdk import BaseOperatorLink
from openlineage.client import OpenLineageClient
from openlineage.client.naming import dataset as naming
from openlineage.client.transport.http import HttpConfig, HttpTransport

from kale_tasks.airflow import command_operator
from kale_tasks.airflow.command_operator import LineageLink, ReportLink
from kale_tasks.airflow.lineage import dataset_name
from kale_tasks.airflow.operators import CheckOperator, CommitOperator, PlanOperator
from kale_tasks.airflow.provider import get_provider_info
from kale_tasks.lake.tables import Lake
from tests.airflow.collector import collecting
from tests.kale import kale
from tests.quality.world import World, commit, open_world

KEY = "2026-11-01"


class FinishedTask:
    """The part of a task instance that the lineage methods use: its stored result."""

    def __init__(self, task_id: str, result: Any) -> None:
        self.task_id, self._results = task_id, {task_id: result}

    def xcom_pull(self, task_ids: str) -> Any:
        return self._results[task_ids]


def lineage(operator: Any, result: Any) -> OperatorLineage[Any, Any] | None:
    found = operator.get_openlineage_facets_on_complete(FinishedTask(operator.task_id, result))
    assert found is None or isinstance(found, OperatorLineage)
    return found


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake whose images were checked, with a warning."""
    lake, world = open_world(tmp_path_factory.mktemp("lineage")), World(KEY, pairs=60)
    commit(lake, world, "ingest")
    commit(lake, world, "images", lambda rows: [row | {"sha256_matches": False} for row in rows])
    return lake


@pytest.fixture
def here(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a task that works on this lake; there is no connection."""
    monkeypatch.setenv("KALE_WAREHOUSE", lake.settings.warehouse)
    monkeypatch.setenv("KALE_LANDING", lake.settings.landing)
    monkeypatch.setattr(command_operator, "KaleHook", lambda name: SimpleNamespace(environment=dict))


def committed(lake: Lake, step: str, table: str, **more: Any) -> OperatorLineage[Any, Any]:
    account = lake.committed(table, KEY)
    assert account
    result = {"step": step, "table": table, **asdict(account), "inputs": dict(account.inputs), **more}
    found = lineage(CommitOperator(task_id="commit", step=step, fingerprint="f", base="", key=KEY), result)
    assert found
    return found


def sent(found: OperatorLineage[Any, Any]) -> dict[str, Any]:
    """The event as a collector gets it over HTTP, from the adapter that the listener of Airflow's provider uses."""
    with collecting() as (port, bodies):
        client = OpenLineageClient(transport=HttpTransport(HttpConfig(f"http://127.0.0.1:{port}")))
        adapter = OpenLineageAdapter(client)
        adapter.complete_task(
            run_id=str(uuid4()), job_name="kale_images.images.commit", end_time=datetime.now(UTC).isoformat(),
            task=found, nominal_start_time=None, nominal_end_time=None, owners=[], tags=[], job_description="",
        )  # fmt: skip
    (body,) = bodies
    event: dict[str, Any] = json.loads(body)
    return event


def test_what_a_step_writes_is_what_the_next_one_reads(lake: Lake, here: None) -> None:
    pairs = sent(committed(lake, "ingest", "pairs", inputs={"landing": "content"}))
    images = sent(committed(lake, "images", "images"))
    edges = {(name_of(pairs["outputs"][0])), *map(name_of, images["inputs"])}
    assert edges == {("file", f"{Path(lake.settings.warehouse).resolve()}/pairs")}
    assert [name_of(one) for one in pairs["inputs"]] == [("file", str(Path(lake.settings.landing).resolve()))]


def test_an_event_follows_the_specification(lake: Lake, here: None) -> None:
    event = sent(committed(lake, "images", "images"))
    UUID(event["run"]["runId"])
    assert datetime.fromisoformat(event["eventTime"]) and event["eventType"] == "COMPLETE"
    assert event["job"]["namespace"] and event["job"]["name"] and urlsplit(event["producer"]).scheme == "https"
    for facet in facets(event):
        assert urlsplit(facet["_producer"]).scheme == urlsplit(facet["_schemaURL"]).scheme == "https"
    (output,) = event["outputs"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 60
    condition = output["outputFacets"]["subset"]["outputCondition"]
    assert condition["type"] == "partition" and condition["partitions"][0]["dimensions"] == {"key": KEY}


def facets(event: dict[str, Any]) -> list[dict[str, Any]]:
    """All facets of an event, wherever they are."""
    holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    kinds = ("facets", "inputFacets", "outputFacets")
    return [facet for holder in holders for kind in kinds for facet in holder.get(kind, {}).values()]


def name_of(dataset: dict[str, Any]) -> tuple[str, str]:
    return dataset["namespace"], dataset["name"]


@pytest.mark.parametrize(
    ("place", "naming"),
    [
        ("s3://bucket/lake/pairs", naming.S3("bucket", "lake/pairs")),
        ("/data/lake/pairs", naming.LocalFileSystem("/data/lake/pairs")),
        ("gs://bucket/lake/pairs", naming.GCS("bucket", "lake/pairs")),
    ],
)
def test_datasets_are_named_as_the_specification_names_places(place: str, naming: naming.DatasetNaming) -> None:
    assert dataset_name(place) == (naming.get_namespace(), naming.get_name())


@pytest.mark.parametrize(
    ("step", "inputs", "tables"),
    [
        ("fuse", ["dense-0123456789ab", "images", "pairs"], ["images", "pairs", "texts"]),
        ("student", ["images", "pairs", "student"], ["images", "models", "pairs"]),
        ("distill", [KEY, f"images/{KEY}"], ["captions", "images"]),
        ("release", [f"captions/{KEY}/stage=1", "takedowns"], ["captions"]),
        ("images", ["pairs", "tars", "evaluation"], ["landing", "pairs"]),
    ],
)
def test_every_step_reads_the_tables_of_its_inputs(
    lake: Lake, here: None, step: str, inputs: list[str], tables: list[str]
) -> None:
    found = committed(lake, step, "images", inputs=dict.fromkeys(inputs, "content"))
    assert [Path(one.name).name for one in found.inputs] == tables


def test_a_check_reports_an_assertion_per_failed_check(lake: Lake, here: None) -> None:
    sets = [f"warehouse={lake.settings.warehouse}", f"landing={lake.settings.landing}"]
    result = kale("check", "images", "--key", KEY, "--json", sets=sets).json
    found = lineage(CheckOperator(task_id="check", step="images", fingerprint="f", key=KEY), result)
    assert found and not found.outputs
    (checked,) = found.inputs
    assert Path(checked.name).name == "images"
    assertions = checked.inputFacets["dataQualityAssertions"].assertions
    assert [(a.assertion, a.success) for a in assertions] == [("check", True), ("sha256_drift_share", False)]


def test_a_failed_check_is_reported_as_failed(here: None) -> None:
    result = {"table": "pairs", "status": "failed", "failed": ["uid_unique"], "warnings": []}
    found = lineage(CheckOperator(task_id="check", step="ingest", fingerprint="f", key=KEY), result)
    assert found
    assertions = found.inputs[0].inputFacets["dataQualityAssertions"].assertions
    assert {a.assertion: a.success for a in assertions} == {"check": False, "uid_unique": False}


@pytest.mark.parametrize("result", [None, [0, 1], {"report": "x"}])
def test_other_tasks_report_nothing(result: Any) -> None:
    assert lineage(PlanOperator(task_id="plan", step="images", key=KEY), result) is None


@pytest.mark.parametrize(
    ("link", "key", "address"),
    [
        (ReportLink(), KEY, f"/kale/report/{KEY}"),
        (ReportLink(), "all", "/kale/report/all"),
        (ReportLink(), "a/b?", "/kale/report/a%2Fb%3F"),
        (LineageLink(), KEY, f"/kale/keys/{KEY}"),
        (LineageLink(), None, "/kale/"),
        (ReportLink(), "", "/kale/"),
    ],
)
def test_a_link_leads_to_the_page_of_the_key(link: BaseOperatorLink, key: str | None, address: str) -> None:
    task = CheckOperator(task_id="check", step="images", fingerprint="f", key=key)
    assert link.get_link(task, ti_key=None) == address


def test_airflow_knows_every_link_of_the_operators() -> None:
    registered = set(get_provider_info()["extra-links"])
    assert registered == {
        f"{type(link).__module__}.{type(link).__name__}" for link in CheckOperator.operator_extra_links
    }
