"""Metrics arrive at a real StatsD socket with their labels, and alerts name only metrics that are sent."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow._shared.observability.metrics import metrics_registry
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from kale_tasks.airflow import outcomes

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yaml").read_text())["groups"][0]["rules"]
DONE = {"rows_in": 500, "seconds": 4.0, "metrics": {"tokens_in": 9000, "tokens_out": 700, "cost": 0.0125}}


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What arrives at the StatsD server of Airflow's settings; a function that waits for a number of lines."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        for name, value in (("ON", "True"), ("PORT", server.getsockname()[1]), ("INFLUXDB_ENABLED", "True")):
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", str(value))
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
        yield lambda count: sorted(server.recv(4096).decode() for _ in range(count))
    monkeypatch.undo()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)


def test_what_work_made_and_took_is_counted(received: Any) -> None:
    outcomes.worked("dense", DONE)
    assert received(5) == [
        "airflow.kale.cost_microdollars,step=dense:12500|c",
        "airflow.kale.rows,step=dense:500|c",
        "airflow.kale.rows_per_second,step=dense:125.0|g",
        "airflow.kale.tokens,step=dense,direction=in:9000|c",
        "airflow.kale.tokens,step=dense,direction=out:700|c",
    ]


def test_verdicts_and_commits_are_counted(received: Any) -> None:
    outcomes.checked("ingest", "failed")
    outcomes.committed("ingest", {"rows": 90, "quarantined": 3})
    assert received(3) == [
        "airflow.kale.checks,step=ingest,status=failed:1|c",
        "airflow.kale.rows_committed,step=ingest:90|c",
        "airflow.kale.rows_quarantined,step=ingest:3|c",
    ]


def test_alerts_name_only_metrics_that_are_sent() -> None:
    ours = re.findall(r'"(kale\.\w+)"', Path(outcomes.__file__).read_text())
    registry = metrics_registry.read_metrics_yaml(str(metrics_registry.YAML_REGISTRY_PATH))
    known = {name.replace(".", "_") for name in (*ours, *(one["name"] for one in registry), "ti.awaiting_input")}
    named = {name for rule in RULES for name in re.findall(r"\bairflow_(\w+)", rule["expr"])}
    assert len(named) > 8 and named <= known


def test_every_alert_and_exit_code_has_a_runbook() -> None:
    from kale_tasks import errors

    page = (ROOT / "docs" / "operations.md").read_text()
    for name in [rule["alert"] for rule in RULES]:
        assert f"\n| {name} | " in page
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.KaleError)]
    runbooks = page.partition("## Alerts and what to do")[2]
    assert {int(code) for code in re.findall(r"^\| (\d) \|", runbooks, re.M)} == {kind.exit_code for kind in kinds}


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for name in re.findall(r'"(kale\.\w+)"', Path(outcomes.__file__).read_text()):
        assert f"`{name}`" in page, name
