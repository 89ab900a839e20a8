"""The compose file: whole, pinned, without root, and saying only what this package understands."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.airflow.standalone import COMPONENTS, POOLS
from kale_tasks.settings import load

ROOT = Path(__file__).parents[2]
_KNOWN = {
    "image", "build", "restart", "user", "security_opt", "cap_drop", "environment", "volumes", "depends_on", "command",
    "configs", "healthcheck", "ports", "profiles", "shm_size", "deploy", "env_file", "logging", "mem_limit",
    "stop_grace_period",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as a reader of YAML sees it."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def dotenv(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The `.env` that the script writes for a new checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "scripts").mkdir()
    for name in ("dotenv", "common.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts" / name)
    subprocess.run([folder / "scripts" / "dotenv"], check=True, capture_output=True)
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    lines = [line for line in (folder / ".env").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_service_is_known_in_all_its_parts(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {*COMPONENTS, "init", "postgres", "seaweedfs", "gpu-worker", "spark-master", "spark-worker"} <= set(services)
    for name, service in services.items():
        assert set(service) <= _KNOWN, name
        assert set(service.get("depends_on", {})) <= set(services), name
        assert {m.split(":")[0] for m in service.get("volumes", [])} <= set(compose["volumes"]), name
        assert {c["source"] for c in service.get("configs", [])} <= set(compose["configs"]), name


def test_images_are_pinned_and_nobody_is_root(compose: dict[str, Any], dotenv: dict[str, str]) -> None:
    for name, service in compose["services"].items():
        tag = _filled(service["image"], dotenv).rpartition(":")[2]
        assert re.match(r"\d+\.\d+", tag), name
        assert service["user"] not in ("root", "0", "0:0"), name


def test_whatever_keeps_running_has_a_health_check(compose: dict[str, Any]) -> None:
    running = {n: s for n, s in compose["services"].items() if s["restart"] != "no"}
    assert [name for name, service in running.items() if "healthcheck" not in service] == []


def test_every_variable_is_in_the_file_that_make_env_writes(dotenv: dict[str, str]) -> None:
    named = set(re.findall(r"(?<!\$)\$\{(\w+)\}", (ROOT / "docker-compose.yml").read_text()))
    assert named <= set(dotenv)
    assert all(name.startswith("KALE_") or name == "HF_TOKEN" for name in dotenv if name not in named)
    assert all(len(dotenv[name]) >= 32 for name in dotenv if re.search("PASSWORD|SECRET|FERNET", name))


def test_the_file_itself_contains_no_secret(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|FERNET|CONN$|BACKEND|CATALOG", name) and "FILE" not in name:
                assert "${" in value, name


def test_settings_are_accepted_by_the_package(compose: dict[str, Any], dotenv: dict[str, str]) -> None:
    given = compose["services"]["scheduler"]["environment"]
    filled = {name: _filled(value, dotenv) for name, value in given.items()}
    settings = load(environ={**dotenv, "KALE_IMAGES__FETCH__CONTACT": "crawler@example.org", **filled}).settings
    assert settings.warehouse == "s3://kale/warehouse"
    assert settings.schedule.queue is None
    assert settings.images.fetch.contact == "crawler@example.org"
    assert settings.images.spool.startswith("/data/")  # in a volume, not in the container


def test_links_in_logs_and_questions_lead_to_the_published_port(
    compose: dict[str, Any], dotenv: dict[str, str]
) -> None:
    (port,) = compose["services"]["api-server"]["ports"]
    base = compose["services"]["scheduler"]["environment"]["AIRFLOW__API__BASE_URL"]
    assert _filled(base, dotenv) == f"http://{_filled(port, dotenv).rpartition(':')[0]}"


def test_a_spark_worker_offers_less_memory_than_its_container_has(dotenv: dict[str, str]) -> None:
    offered, limit = (int(dotenv[name].removesuffix("g")) for name in ("SPARK_MEMORY", "TASK_MEMORY"))
    assert 0 < offered < limit


def test_no_service_can_fill_the_disk_or_the_memory(compose: dict[str, Any]) -> None:
    running = {n: s for n, s in compose["services"].items() if s["restart"] != "no"}
    assert all(s["mem_limit"] and s["logging"]["options"]["max-size"] for s in running.values())


def test_redis_asks_for_a_password_that_no_command_line_shows(compose: dict[str, Any]) -> None:
    assert "requirepass ${REDIS_PASSWORD}" in compose["configs"]["redis"]["content"]
    assert not [s for s in compose["services"].values() if "PASSWORD" in str(s.get("command"))]
    assert ":${REDIS_PASSWORD}@" in compose["services"]["scheduler"]["environment"]["AIRFLOW__CELERY__BROKER_URL"]


def test_every_pool_of_the_settings_is_made() -> None:
    script = (ROOT / "scripts" / "compose-init").read_text()
    assert (
        set(re.findall(r"pools set (\w+)", script))
        == set(POOLS)
        == set(load(environ={}).settings.schedule.pools.model_dump())
    )


def _filled(text: str, dotenv: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: dotenv[found[1]], text)


def test_every_airflow_command_exists(compose: dict[str, Any]) -> None:
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    commands = [s["command"] for s in compose["services"].values() if s.get("command", [""])[0] == "airflow"]
    assert len(commands) == 6
    for command in commands:
        parser.parse_args(command[1:])
