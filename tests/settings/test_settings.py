"""Settings: four layers, clear errors, and a fingerprint of what changes rows only."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadConfig
from kale_tasks.resources import resource
from kale_tasks.settings import Settings, load
from kale_tasks.settings.load import setting_names
from tests.lakes import settings_of


def test_each_layer_overrides_the_one_before(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("parts: {part_rows: 2}\nmaintenance: {keep_days: 2}\nlimit: 2\n")
    environ = {"KALE_PROFILE": str(profile), "KALE_MAINTENANCE__KEEP_DAYS": "3", "KALE_LIMIT": "3"}
    loaded = load(["limit=4"], environ=environ)
    assert (loaded.settings.parts.part_rows, loaded.settings.maintenance.keep_days, loaded.settings.limit) == (2, 3, 4)
    assert [loaded.origins[n] for n in ("parts.part_rows", "maintenance.keep_days", "limit", "parts.chunk_rows")] == [
        "mine.yaml",
        "environment KALE_MAINTENANCE__KEEP_DAYS",
        "--set",
        "kale.yaml",
    ]


@pytest.mark.parametrize("profile", ["demo", "laptop", "cluster"])
def test_every_shipped_profile_is_valid(profile: str) -> None:
    loaded = load([f"profile={profile}"], environ={"KALE_PROFILE": "another"})
    assert (loaded.settings.profile, loaded.origins["profile"]) == (profile, "--set")


def test_an_empty_profile_variable_means_the_default_profile() -> None:
    assert load(environ={"KALE_PROFILE": ""}).settings == load(environ={}).settings


def test_the_examples_in_the_defaults_work() -> None:
    head = resource("config/kale.yaml").read_text().partition("\nprofile:")[0]
    ((variable, value),) = re.findall(r"\b(KALE_\w+)=(\w+)", head)
    ((name, override),) = re.findall(r"--set (\S+)=(\w+)", head)
    from_environment = load(environ={variable: value})
    from_option = load([f"{name}={override}"], environ={})
    assert from_environment.settings == from_option.settings != load(environ={}).settings


def test_an_unknown_setting_names_its_layer_and_the_closest_name(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("parts: {part_row: 2}\n")
    with pytest.raises(
        BadConfig, match=r"mine.yaml: there is no setting 'parts.part_row'. Did you mean 'parts.part_rows'"
    ):
        load(environ={"KALE_PROFILE": str(profile)})
    with pytest.raises(BadConfig, match=r"KALE_WAREHUOSE.*Did you mean 'warehouse'"):
        load(environ={"KALE_WAREHUOSE": "/x"})


@pytest.mark.parametrize("text", ["parts.part_rows=many", "parts.part_rows=0", "log=loud", "parts=3", "nonsense"])
def test_a_bad_value_is_one_line(text: str) -> None:
    with pytest.raises(BadConfig) as error:
        settings_of([text])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["- a list", "a: [unclosed", "\x00\xff"])
def test_a_profile_that_is_not_a_yaml_mapping_is_refused(content: str, tmp_path: Path) -> None:
    profile = tmp_path / "broken.yaml"
    profile.write_bytes(content.encode("latin-1"))
    with pytest.raises(BadConfig, match=r"broken\.yaml"):
        load(environ={"KALE_PROFILE": str(profile)})
    with pytest.raises(BadConfig, match="no profile"):
        load(environ={"KALE_PROFILE": "nowhere"})


@pytest.mark.parametrize("name", ["s3.secret_access_key", "caption.endpoints.api_key"])
def test_secrets_are_masked_wherever_they_could_be_printed(name: str) -> None:
    loaded = load([f"{name}=hunter2"], environ={})
    shown = f"{loaded.settings} {loaded.settings.model_dump_json()} {loaded.origins}"
    assert "hunter2" not in shown
    with pytest.raises(BadConfig) as error:
        load([f"{name}=[hunter2]"], environ={})
    assert "hunter2" not in str(error.value)


def test_settings_survive_a_round_trip_through_json() -> None:
    settings = settings_of([])
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@given(st.integers(1, 10**6), st.floats(0, 100))
def test_only_settings_that_change_rows_are_semantic(rows: int, days: float) -> None:
    one, other = settings_of([]), settings_of([f"parts.part_rows={rows}", f"maintenance.keep_days={days}"])
    assert (one.parts.semantic() == other.parts.semantic()) == (rows == one.parts.part_rows)
    assert one.maintenance.semantic() == other.maintenance.semantic() == {}


def test_a_setting_without_effect_and_a_section_without_settings_are_not_semantic() -> None:
    loaded = settings_of(["ingest.rules.min_words=null", "ingest.rules.max_words=20"])
    semantic = loaded.ingest.semantic()
    assert "spark" not in semantic and "min_words" not in semantic["rules"]
    assert semantic["rules"]["max_words"] == 20


def test_every_setting_has_a_description_and_a_default() -> None:
    schema = Settings.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    bare = [
        name for s in sections for name, p in s.get("properties", {}).items() if not ("description" in p or "$ref" in p)
    ]
    assert bare == []
    assert set(load(environ={}).origins) >= set(setting_names())
