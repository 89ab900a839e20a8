"""Recipes name every model by a pinned version, and every field of a recipe has an effect."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.models.locate import pinned
from kale_tasks.recipes.recipe import Task, load_recipe
from kale_tasks.resources import resource
from kale_tasks.world.models import CHECKPOINTS

NAMES = sorted(path.stem for path in resource("config/recipes").glob("*.yaml"))


def tasks(name: str) -> list[Task]:
    recipe = load_recipe(name)
    return [task for task in (recipe.dense, recipe.fuse, recipe.student) if task]


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_recipe_pins_its_models_and_delimits_its_alt_text(name: str) -> None:
    for task in tasks(name):
        assert task.model == "" or "@" in pinned(task.model)
        assert not task.prompt.wants_alt or "<alt>{alt}</alt>" in task.prompt.user
        assert task.sampling.max_tokens + task.image_tokens < task.context


def test_the_demo_recipe_uses_the_prompts_that_the_tiny_models_were_trained_on() -> None:
    known = yaml.safe_load(CHECKPOINTS.with_name("prompts.yaml").read_text())
    dense, fuse, student = tasks("demo")
    for task, prompt in ((dense, "describe"), (fuse, "fuse"), (student, "student")):
        assert {"system": task.prompt.system, "user": task.prompt.user} == known[prompt]
        assert task.prompt.alt_characters == known["alt_characters"]


def test_a_new_recipe_is_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(Path("config/recipes/demo.yaml").read_text().replace("max_tokens: 160", "max_tokens: 99"))
    assert load_recipe(str(path)).dense.sampling.max_tokens == 99


def test_any_change_of_a_prompt_changes_its_hash() -> None:
    prompt = load_recipe("kale").dense.prompt
    assert prompt.hash != prompt.model_copy(update={"user": prompt.user + " "}).hash


@pytest.mark.parametrize(
    ("text", "message"),
    [("about: x\nfuse: nul", "dense: Field required"), ("about: [", "cannot be read as YAML")],
)
def test_an_error_in_a_recipe_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=message):
        load_recipe(str(path))


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(BadConfig, match=r"no recipe 'nope'\. Use one of capsfusion, demo"):
        load_recipe("nope")


@pytest.mark.parametrize(
    ("task", "field", "message"),
    [
        ("dense", {"grounding": {"allowed": 0}}, "dense.grounding has no effect"),
        ("fuse", {"image_side": 512}, "fuse.image_side has no effect"),
        ("student", {"grounding": {"otherwise": "cut"}}, "student.grounding has no effect"),
        ("dense", {"prompt": {"system": "", "user": "Improve: {dense}"}}, "which only the prompt of `fuse` can"),
        ("dense", {"prompt": "sample:nothing"}, "no prompt 'sample:nothing'. Known: describe, fuse, student"),
    ],
)
def test_a_field_that_no_step_reads_is_an_error(tmp_path: Path, task: str, field: dict[str, Any], message: str) -> None:
    recipe = yaml.safe_load(Path("config/recipes/demo.yaml").read_text())
    recipe[task] |= field
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(BadConfig, match=message):
        load_recipe(str(path))
