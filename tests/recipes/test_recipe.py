"""Recipes name everything that makes a caption, pinned."""

from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.models.locate import locate, pinned
from kale_tasks.recipes.recipe import Task, load_recipe
from kale_tasks.resources import package_file, resource

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


def test_the_demo_recipe_asks_with_the_words_that_the_tiny_models_know() -> None:
    import yaml

    known = yaml.safe_load(package_file("world/models/prompts.yaml").read_text())
    dense, fuse, student = tasks("demo")
    for task, prompt in ((dense, "describe"), (fuse, "fuse"), (student, "student")):
        assert {"system": task.prompt.system, "user": task.prompt.user} == known[prompt]
        assert task.prompt.alt_characters == known["alt_characters"]


def test_a_new_recipe_is_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(Path("config/recipes/demo.yaml").read_text().replace("max_tokens: 160", "max_tokens: 99"))
    assert load_recipe(str(path)).dense.sampling.max_tokens == 99


def test_another_word_is_another_prompt() -> None:
    prompt = load_recipe("kale").dense.prompt
    assert prompt.hash != prompt.model_copy(update={"user": prompt.user + " "}).hash


@pytest.mark.parametrize("name", ["Qwen/Some-Model@main", "nowhere", "sample:nobody"])
def test_a_model_that_is_not_pinned_or_not_there_is_a_matter_of_settings(name: str) -> None:
    with pytest.raises(BadConfig):
        pinned(name)


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate(str(tmp_path)) == tmp_path
    assert len(pinned(str(tmp_path)).partition("@")[2]) == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [("about: x\nfuse: nul", "dense: Field required"), ("about: [", "cannot be read as YAML")],
)
def test_a_faulty_recipe_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=said):
        load_recipe(str(path))
    with pytest.raises(BadConfig, match="There is no recipe 'nope'"):
        load_recipe("nope")
