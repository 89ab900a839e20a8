"""An upgrade changes a fingerprint only where it changes rows; the fingerprints of what is shipped are frozen."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import create_model

from kale_tasks.captions import assemble, local_passes, student
from kale_tasks.captions import steps as caption_steps
from kale_tasks.captions.steps import steps_of
from kale_tasks.contract.fingerprint import Retired, fingerprint
from kale_tasks.contract.registry import find
from kale_tasks.distill import step as distill_step
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.resources import resource
from kale_tasks.settings import Settings
from kale_tasks.settings.section import Section, neutral
from tests.lakes import settings_of
from tests.steps import Numbers

FROZEN = Path(__file__).with_name("fingerprints.yaml")
RECIPES = sorted(path.stem for path in resource("config/recipes").glob("*.yaml"))
OTHERS = ("ingest", "images", "distill", "release")
INPUTS = {"input": "content"}


def shipped(recipe: str, landing: Path) -> Settings:
    """The settings that go with a shipped recipe, and a landing with a fixed evaluation set."""
    (landing / "_eval").mkdir(parents=True, exist_ok=True)
    (landing / "_eval" / "items.parquet").write_bytes(b"evaluation items")
    profile = "demo" if recipe == "demo" else "laptop"
    return settings_of([f"profile={profile}", f"caption.recipe={recipe}", f"landing={landing}"])


def names(recipe: str, settings: Settings) -> dict[str, str]:
    """The fingerprint of each step by `recipe/step`; steps that read no recipe only for kale and demo."""
    steps = {spec.label: spec.load() for spec in steps_of(settings)}
    wanted = [name for name in steps if name not in OTHERS or recipe in ("kale", "demo")]
    return {f"{recipe}/{name}": fingerprint(steps[name], steps[name].config(settings), INPUTS) for name in wanted}


def widened(value: Any, field: Any) -> Any:
    """A section in which it and all sections below have one more field, `added`."""
    if isinstance(value, list):
        return [widened(one, field) for one in value]
    if isinstance(value, dict):
        return {name: widened(one, field) for name, one in value.items()}
    if not isinstance(value, Section):
        return value
    values = {name: widened(getattr(value, name), field) for name in type(value).model_fields}
    values |= value.__pydantic_extra__ or {}  # options of an expert
    wider = create_model(type(value).__name__, __base__=type(value), added=(int, field))
    return wider.model_construct(**values, added=field.default)


@pytest.mark.parametrize("recipe", RECIPES)
def test_fingerprints_of_shipped_recipes_are_frozen(recipe: str, tmp_path: Path) -> None:
    frozen = {
        name: value for name, value in yaml.safe_load(FROZEN.read_text()).items() if name.startswith(f"{recipe}/")
    }
    assert names(recipe, shipped(recipe, tmp_path)) == frozen


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("default", [0, 1])
def test_a_new_field_of_every_section_changes_fingerprints_only_where_it_has_an_effect(
    recipe: str, default: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, field = shipped(recipe, tmp_path), neutral(0, "A new option; 0: off.", default=default)
    before = names(recipe, settings)
    for step in (assemble, caption_steps, local_passes, student, distill_step):
        monkeypatch.setattr(step, "load_recipe", lambda name: widened(load_recipe(name), field))
    after = names(recipe, widened(settings, field))
    assert {name: before[name] != after[name] for name in before} == dict.fromkeys(before, default != 0)


@pytest.fixture
def retired(monkeypatch: pytest.MonkeyPatch) -> dict[str, Retired]:
    """The table of retired settings, to be filled by a test."""
    table = dict[str, Retired]()
    monkeypatch.setattr("kale_tasks.contract.fingerprint.RETIRED", table)
    return table


def test_a_comment_in_a_list_changes_no_fingerprint(tmp_path: Path) -> None:
    found = set()
    for patterns, words in (("a: [b]\n", "one\n"), ("# Why\na:\n- b\n", "one # why\n\n"), ("a: [c]\n", "one\n")):
        (tmp_path / "patterns.yaml").write_text(patterns)
        (tmp_path / "nsfw.txt").write_text(words)
        lists = [f"ingest.lists.patterns={tmp_path}/patterns.yaml", f"ingest.lists.nsfw={tmp_path}/nsfw.txt"]
        found.add(named(dict(find("ingest").config(settings_of([f"landing={tmp_path}", "profile=laptop", *lists])))))
    assert len(found) == 2


def named(config: dict[str, Any]) -> str:
    return fingerprint(Numbers(), config, INPUTS)


def test_a_renamed_setting_keeps_its_fingerprint(retired: dict[str, Retired]) -> None:
    before, off = named({"rules": {"least": 3}, "rows": 9}), named({"rows": 9})
    assert named({"limits": {"fewest": 3}, "rows": 9}) != before
    retired["ingest.rules.least"] = Retired(neutral=None, now="ingest.limits.fewest")
    assert named({"limits": {"fewest": 3}, "rows": 9}) == before
    assert named({"limits": {"fewest": 4}, "rows": 9}) != before
    assert named({"rows": 9}) == named({"limits": {"fewest": None}, "rows": 9}) == off


def test_two_settings_can_exchange_their_names(retired: dict[str, Retired]) -> None:
    before = named({"a": 1, "b": 2})
    retired |= {"ingest.a": Retired(now="ingest.b"), "ingest.b": Retired(now="ingest.a")}
    assert named({"b": 1, "a": 2}) == before


def test_a_removed_setting_is_hashed_as_the_value_that_it_has_for_good(retired: dict[str, Retired]) -> None:
    always, off = named({"rows": 9, "spam": True}), named({"rows": 9})
    retired["ingest.spam"] = Retired(neutral=False, value=True)
    assert named({"rows": 9}) == always
    retired["ingest.spam"] = Retired(neutral=False)
    assert named({"rows": 9}) == off


def test_a_retired_setting_of_one_step_leaves_others_alone(retired: dict[str, Retired]) -> None:
    before = fingerprint(find("images"), {"rows": 9}, INPUTS)
    retired["ingest.spam"] = Retired(value=True)
    assert fingerprint(find("images"), {"rows": 9}, INPUTS) == before


def test_a_retired_name_cannot_be_used_again(retired: dict[str, Retired]) -> None:
    retired["ingest.spam"] = Retired(neutral=False)
    with pytest.raises(ValueError, match="'spam' of ingest is retired: choose another name"):
        named({"spam": 3})


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for of_recipe in RECIPES:
            print(yaml.safe_dump(names(of_recipe, shipped(of_recipe, Path(folder)))), end="")


def test_a_condition_that_names_two_passes_has_one_fingerprint_in_all_processes() -> None:
    """Sets of texts have another order in each process."""
    code = "from kale_tasks.recipes.conditions import condition_reads as reads; print(*reads('not ocr.empty or a.max'))"

    def said(seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)

    assert {said(seed) for seed in range(6)} == {"a ocr\n"}
