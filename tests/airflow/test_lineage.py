"""Tasks report to OpenLineage what they read, wrote and checked, and link to the pages of their key."""

from typing import Any

import pytest
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.sdk import BaseOperatorLink

from kale_tasks.airflow.operators import CheckOperator, CommitOperator, LineageLink, PlanOperator, ReportLink
from kale_tasks.airflow.provider import get_provider_info
from kale_tasks.lake.tables import Lake
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


def test_a_commit_reports_its_inputs_and_its_rows(lake: Lake) -> None:
    committed = lake.committed("images", KEY)
    assert committed
    result = {"table": "images", "rows": committed.rows, "inputs": dict(committed.inputs)}
    operator = CommitOperator(task_id="commit", step="images", fingerprint="f", base="", key=KEY)
    found = lineage(operator, result)
    assert found
    assert [(dataset.namespace, dataset.name) for dataset in found.inputs] == [("kale", "pairs")]
    (output,) = found.outputs
    assert (output.namespace, output.name) == ("kale", f"images/key={KEY}")
    assert output.outputFacets["outputStatistics"].rowCount == 60


def test_a_check_reports_an_assertion_per_failed_check(lake: Lake) -> None:
    sets = [f"warehouse={lake.settings.warehouse}", f"landing={lake.settings.landing}"]
    result = kale("check", "images", "--key", KEY, "--json", sets=sets).json
    found = lineage(CheckOperator(task_id="check", step="images", fingerprint="f", key=KEY), result)
    assert found and not found.outputs
    (checked,) = found.inputs
    assert (checked.namespace, checked.name) == ("kale", f"images/key={KEY}")
    assertions = checked.inputFacets["dataQualityAssertions"].assertions
    assert [(a.assertion, a.success) for a in assertions] == [("check", True), ("sha256_drift_share", False)]


def test_a_failed_check_is_reported_as_failed() -> None:
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
