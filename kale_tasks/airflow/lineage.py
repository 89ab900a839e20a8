"""What a task read and wrote, in OpenLineage's words; asked only where that provider is switched on."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

_NAMESPACE = "kale"


class Lineage:
    """Tells OpenLineage of the tables of a task that committed or examined something."""

    key: str | None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> "OperatorLineage[Any, Any] | None":
        """Inputs and the output with its row count after a commit, assertions after a check, else nothing."""
        told = task_instance.xcom_pull(task_ids=task_instance.task_id)
        if not isinstance(told, dict) or "table" not in told:
            return None
        name = f"{told['table']}/key={self.key}"
        return _examined(name, told) if "status" in told else _committed(name, told)


def _committed(name: str, told: dict[str, Any]) -> "OperatorLineage[Any, Any]":
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    counted = statistics.OutputStatisticsOutputDatasetFacet(rowCount=told["rows"])
    return OperatorLineage(
        inputs=[InputDataset(_NAMESPACE, table) for table in told["inputs"]],
        outputs=[OutputDataset(_NAMESPACE, name, outputFacets={"outputStatistics": counted})],
    )


def _examined(name: str, told: dict[str, Any]) -> "OperatorLineage[Any, Any]":
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    failed = [quality.Assertion(assertion=check, success=False) for check in (*told["failed"], *told["warnings"])]
    passed = quality.Assertion(assertion="check", success=told["status"] in ("passed", "warned"))
    facet = quality.DataQualityAssertionsDatasetFacet([passed, *failed])
    return OperatorLineage(inputs=[InputDataset(_NAMESPACE, name, inputFacets={"dataQualityAssertions": facet})])
