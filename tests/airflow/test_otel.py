"""KALE's metrics arrive at an OpenTelemetry collector over OTLP, with their labels, before a task process ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

_TASK = """
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from kale_tasks.airflow import outcomes
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
outcomes.checked("ingest", "failed")
"""


@pytest.fixture
def collector() -> Iterator[tuple[int, list[Any]]]:
    """A collector: its port, and the metrics that have arrived."""
    found: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                found.extend(metric for scope in resource.scope_metrics for metric in scope.metrics)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, found
    server.shutdown()
    server.server_close()


def test_a_verdict_arrives_at_the_collector(collector: tuple[int, list[Any]]) -> None:
    port, found = collector
    settings = {"ON": "True", "HOST": "127.0.0.1", "PORT": str(port)}
    environment = {**os.environ, **{f"AIRFLOW__METRICS__OTEL_{name}": value for name, value in settings.items()}}
    subprocess.run([sys.executable, "-c", _TASK], env=environment, check=True, capture_output=True)
    metric = [metric for metric in found if metric.name.endswith("kale.checks")][-1]  # sums, sent once more at the end
    (point,) = metric.sum.data_points
    labels = {one.key: one.value.string_value for one in point.attributes}
    assert labels["step"] == "ingest" and labels["status"] == "failed"
    assert (point.as_int or point.as_double) == 1
