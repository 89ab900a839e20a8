"""Reports to OpenLineage what a task read and wrote. Used only if that provider is enabled."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

_NAMESPACE = "kale"


class Lineage:
    """Mixin for operators that commit or check tables."""

    key: str | None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> "OperatorLineage[Any, Any] | None":
        """Return inputs and output of a commit, or the assertions of a check; None for other tasks."""
        result = task_instance.xcom_pull(task_ids=task_instance.task_id)
        if not isinstance(result, dict) or "table" not in result:
            return None
        name = f"{result['table']}/key={self.key}"
        return _checked(name, result) if "status" in result else _committed(name, result)


def _committed(name: str, result: dict[str, Any]) -> "OperatorLineage[Any, Any]":
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    counted = statistics.OutputStatisticsOutputDatasetFacet(rowCount=result["rows"])
    return OperatorLineage(
        inputs=[InputDataset(_NAMESPACE, table) for table in result["inputs"]],
        outputs=[OutputDataset(_NAMESPACE, name, outputFacets={"outputStatistics": counted})],
    )


def _checked(name: str, result: dict[str, Any]) -> "OperatorLineage[Any, Any]":
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    failed = [quality.Assertion(assertion=check, success=False) for check in (*result["failed"], *result["warnings"])]
    passed = quality.Assertion(assertion="check", success=result["status"] in ("passed", "warned"))
    facet = quality.DataQualityAssertionsDatasetFacet([passed, *failed])
    return OperatorLineage(inputs=[InputDataset(_NAMESPACE, name, inputFacets={"dataQualityAssertions": facet})])
