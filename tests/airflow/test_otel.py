"""KALE's metrics arrive at an OpenTelemetry collector over OTLP, with their labels, before a task process ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.airflow.collector import collecting

_TASK = """
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from kale_tasks.airflow import outcomes
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
outcomes.checked("ingest", "failed")
"""


def test_a_verdict_arrives_at_the_collector() -> None:
    with collecting() as (port, bodies):
        settings = {"ON": "True", "HOST": "127.0.0.1", "PORT": str(port)}
        environment = {**os.environ, **{f"AIRFLOW__METRICS__OTEL_{name}": value for name, value in settings.items()}}
        subprocess.run([sys.executable, "-c", _TASK], env=environment, check=True, capture_output=True)
    found = [metric for body in bodies for metric in _metrics(body)]
    metric = [metric for metric in found if metric.name.endswith("kale.checks")][-1]  # sums, sent once more at the end
    (point,) = metric.sum.data_points
    labels = {one.key: one.value.string_value for one in point.attributes}
    assert labels["step"] == "ingest" and labels["status"] == "failed"
    assert (point.as_int or point.as_double) == 1


def _metrics(body: bytes) -> Iterator[Any]:
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics
