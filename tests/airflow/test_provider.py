"""The connection: its form, the environment that it becomes, and its test button."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from kale_tasks.airflow.hook import KaleHook, variables
from kale_tasks.airflow.provider import get_provider_info
from kale_tasks.settings import load
from tests.lakes import lake_of


def test_airflow_knows_the_connection_type() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "kale-tasks" in manager.providers
    assert get_provider_info()["connection-types"][0]["connection-type"] == "kale"


def test_every_field_of_the_form_becomes_a_setting_that_is_accepted() -> None:
    fields = {name: "1234567890" for name in get_provider_info()["connection-types"][0]["conn-fields"]}
    given = variables(fields | {"catalog": "sqlite:///x"})
    settings = load(environ=given).settings
    secret = settings.s3.secret_access_key
    assert secret and secret.get_secret_value() == "1234567890"
    assert settings.warehouse == "1234567890" and given["HF_TOKEN"] == "1234567890"
    assert len(given) == len(fields)


def test_secrets_of_the_form_are_masked_in_it() -> None:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    masked = {name for name, field in fields.items() if field["schema"].get("format") == "password"}
    assert masked == {"catalog", "s3_secret_access_key", "hub_token"}


def test_the_test_button_opens_the_lake_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(**fields: str) -> tuple[bool, str]:
        connection = json.dumps({"conn_type": "kale", "extra": fields})
        monkeypatch.setenv("AIRFLOW_CONN_KALE_DEFAULT", connection)
        return KaleHook().test_connection()

    good, message = connect(warehouse=str(tmp_path / "lake"))
    assert not good and "kale init" in message
    lake_of([f"warehouse={tmp_path / 'lake'}"])
    good, message = connect(warehouse=str(tmp_path / "lake"))
    assert good and "0 keys" in message
    good, message = connect(warehouse=str(tmp_path), catalog="postgresql+psycopg2://nobody:secret@127.0.0.1:9/none")
    assert not good and "secret" not in message


def test_every_module_and_class_of_the_provider_can_be_imported() -> None:
    info = get_provider_info()
    modules = [module for kind in ("operators", "sensors", "triggers", "hooks") for module in modules_of(info[kind])]
    classes = [*info["extra-links"], *(kind["hook-class-name"] for kind in info["connection-types"])]
    assert all(import_module(module) for module in modules)
    assert all(getattr(import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in classes)


def modules_of(entries: list[dict[str, list[str]]]) -> list[str]:
    return [module for entry in entries for module in entry["python-modules"]]
