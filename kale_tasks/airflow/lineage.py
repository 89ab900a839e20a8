"""Reports to OpenLineage what a task read and wrote. Used only if that provider is enabled.

Each table is one dataset, named by its place as the naming rules of OpenLineage ask for, so that what one step writes
is what the next one reads. The key is a facet.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kale_tasks.contract.registry import STEPS
from kale_tasks.settings import load

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset

_TABLES = {spec.table for spec in STEPS.values()}
_PASS = re.compile(r"[a-z][a-z0-9_]*-[0-9a-f]{12}")  # the input of a step that reads the texts of a pass
_LANDING = {"landing", "tars"}


class Lineage(ABC):
    """Mixin for operators that commit or check tables."""

    key: str | None

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return what a connection adds to the environment."""

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> "OperatorLineage[Any, Any] | None":
        """Return inputs and output of a commit, or the assertions of a check; None for other tasks."""
        result = task_instance.xcom_pull(task_ids=task_instance.task_id)
        if not isinstance(result, dict) or "table" not in result:
            return None
        settings = load(environ={**os.environ, **self.environment()}).settings
        places = {"landing": settings.landing}
        places |= {table: f"{settings.warehouse}/{table}" for table in (*_TABLES, "texts")}
        datasets = _Datasets(places, self.key or "")
        return datasets.checked(result) if "status" in result else datasets.committed(result)


def _tables_read(step: str, inputs: Iterable[str]) -> list[str]:
    """The tables that the inputs of a run are in. Inputs of the steps on all keys are named by key or `table/…`."""
    found = set()
    for name in inputs:
        table = name.split("/", 1)[0]
        if table in _LANDING:
            found.add("landing")
        elif table in _TABLES:
            found.add(table)
        elif _PASS.fullmatch(name):
            found.add("texts")
        elif name == "student":
            found.add("models")
        elif step == "distill":
            found.add("captions")
    return sorted(found)


def dataset_name(place: str) -> tuple[str, str]:
    """Return namespace and name of the dataset at a place, by the naming rules of OpenLineage."""
    if "://" not in place:
        return "file", str(Path(place).resolve())
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")


class _Datasets:
    """Makes the datasets of the tables of a lake, with a key as the subset that is read or written."""

    def __init__(self, places: Mapping[str, str], key: str) -> None:
        self._places, self._key = places, key

    def committed(self, result: Mapping[str, Any]) -> "OperatorLineage[Any, Any]":
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import base_subset_dataset as subset
        from openlineage.client.facet_v2 import dataset_version_dataset as versions
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        facets = {
            "outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(rowCount=result["rows"]),
            "subset": subset.OutputSubsetOutputDatasetFacet(self._condition()),
        }
        version = versions.DatasetVersionDatasetFacet(str(result["snapshot_id"]))
        output = OutputDataset(
            *dataset_name(self._places[result["table"]]), facets={"version": version}, outputFacets=facets
        )
        read = _tables_read(result["step"], result["inputs"])
        return OperatorLineage(inputs=[self._input(table) for table in read], outputs=[output])

    def checked(self, result: Mapping[str, Any]) -> "OperatorLineage[Any, Any]":
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        names = {name: "error" for name in result["failed"]} | {name: "warn" for name in result["warnings"]}
        failed = [quality.Assertion(name, success=False, severity=severity) for name, severity in names.items()]
        passed = quality.Assertion(assertion="check", success=result["status"] in ("passed", "warned"))
        facet = quality.DataQualityAssertionsDatasetFacet([passed, *failed])
        return OperatorLineage(inputs=[self._input(result["table"], dataQualityAssertions=facet)])

    def _input(self, table: str, **facets: Any) -> "InputDataset":
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import base_subset_dataset as subset

        read = subset.InputSubsetInputDatasetFacet(self._condition())
        return InputDataset(*dataset_name(self._places[table]), inputFacets={"subset": read, **facets})

    def _condition(self) -> Any:
        from openlineage.client.facet_v2 import base_subset_dataset as subset

        return subset.PartitionSubsetCondition([subset.Partition({"key": self._key})])
