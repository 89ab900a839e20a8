"""Pods of tasks, made by the Kubernetes executor's own code from our settings, are what the API accepts."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kale_tasks.airflow.dag_parts import heavy_task, schedule
from kale_tasks.settings import load

DEPLOY = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSION = "1.34"
_WORKER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "worker"},
    "spec": {"containers": [{"name": "base", "image": "kale:0.1.0"}]},
}


@pytest.fixture
def pod_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes the pod of a task of a pool whose executor configuration is given, as YAML, in the environment."""
    # Here, because every worker of the tests imports every test file, and these take seconds.
    from airflow.providers.cncf.kubernetes.executors.kubernetes_executor_utils import get_base_pod_from_template
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes import client

    worker = tmp_path / "worker.yaml"
    worker.write_text(yaml.safe_dump(_WORKER))

    def make(pool: str, config: str) -> dict[str, Any]:
        monkeypatch.setenv(f"KALE_SCHEDULE__EXECUTOR_CONFIG__{pool.upper()}", config)
        schedule.cache_clear()
        given = heavy_task(pool)["executor_config"]
        pod = PodGenerator.construct_pod(
            dag_id="kale_stage1", task_id="dense.work", pod_id="kale-stage1-dense-work-0", try_number=1,
            kube_image="kale:0.1.0", date=datetime(2026, 11, 1, tzinfo=UTC), args=["airflow", "execute"],
            pod_override_object=PodGenerator.from_obj(given), namespace="kale", scheduler_job_id="7", run_id="by_hand",
            base_worker_pod=get_base_pod_from_template(
                given.get("pod_template_file"), SimpleNamespace(pod_template_file=str(worker))
            ),
        )  # fmt: skip
        plain: dict[str, Any] = client.ApiClient().sanitize_for_serialization(pod)
        return plain

    yield make
    schedule.cache_clear()


def test_a_gpu_task_runs_in_the_pod_of_its_template(pod_of: Any) -> None:
    pod = pod_of("gpu", f"{{pod_template_file: {DEPLOY / 'gpu-pod.yaml'}}}")
    kubernetes_validate.validate(pod, VERSION, strict=True)
    (base,) = pod["spec"]["containers"]
    assert base["resources"]["limits"]["nvidia.com/gpu"] == "1" and base["args"] == ["airflow", "execute"]
    assert {mount["mountPath"] for mount in base["volumeMounts"]} == {"/dev/shm", "/models"}
    assert pod["spec"]["restartPolicy"] == "Never" and pod["metadata"]["labels"]["task_id"] == "dense.work"


def test_a_setting_overrides_the_pod_of_the_tasks_of_a_pool(pod_of: Any) -> None:
    memory = "{resources: {requests: {memory: 24Gi}}}"
    pod = pod_of("spark", f"{{pod_override: {{spec: {{containers: [{{name: base, {memory[1:-1]}}}]}}}}}}")
    kubernetes_validate.validate(pod, VERSION, strict=True)
    (base,) = pod["spec"]["containers"]
    assert base["resources"]["requests"] == {"memory": "24Gi"} and base["image"] == "kale:0.1.0"


def test_an_override_that_no_pod_has_is_refused_by_the_schema(pod_of: Any) -> None:
    pod = pod_of("fetch", "{pod_template_file: " + str(DEPLOY / "gpu-pod.yaml") + "}")
    pod["spec"]["containers"][0]["resources"]["limits"] = {"memory": ["much"]}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSION, strict=True)


def test_the_values_name_settings_and_options_that_exist() -> None:
    values = yaml.safe_load((DEPLOY / "values.yaml").read_text())
    environment = {one["name"]: one["value"] for one in values["env"]}
    settings = load(environ=environment).settings
    assert settings.warehouse == "s3://bucket/warehouse"
    assert settings.schedule.executor_config.gpu["pod_template_file"].endswith("/gpu-pod.yaml")
    from airflow.configuration import conf

    for section, options in values["config"].items():
        assert not [option for option in options if not conf.has_option(section, option)], section


def test_the_image_has_the_providers_that_the_executor_and_the_chart_need() -> None:
    root = DEPLOY.parents[1]
    locked = (root / "lock" / "image.txt").read_text()
    for name in ("apache-airflow-providers-cncf-kubernetes", "apache-airflow-providers-fab", "statsd"):
        assert re.search(rf"^{name}==", locked, re.M), name
    assert not re.search(r"^(pytest|mypy|ruff|playwright)==", locked, re.M)  # nor what only develops it
    assert "lock/image.txt" in (root / "Dockerfile").read_text()
