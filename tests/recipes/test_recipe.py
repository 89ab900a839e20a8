"""Recipes are lists of passes; whatever is wrong with one is said with its line and the nearest right name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.captions.passes import pass_id
from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import EMBEDDERS, EXPERTS, SCORERS, open_embedder, open_expert, open_scorer
from kale_tasks.models.locate import pinned
from kale_tasks.recipes.files import shipped_recipes
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.passes import AskPass
from kale_tasks.recipes.read import Installed, recipe_problems
from kale_tasks.recipes.recipe import drawing, load_recipe
from kale_tasks.world.models import CHECKPOINTS

INSTALLED = {
    "expert": Installed("expert", EXPERTS.names, open_expert),
    "embed": Installed("embedder", EMBEDDERS.names, open_embedder),
    "score": Installed("scorer", SCORERS.names, open_scorer),
}
DEMO = Path("config/recipes/demo.yaml").read_text()


def tasks(name: str) -> list[Task]:
    recipe = load_recipe(name)
    asked = [one.name for one in recipe.passes if isinstance(one, AskPass)]
    return [recipe.task(one) for one in (*asked, "student")]


def saved(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_pins_its_models_and_delimits_its_alt_text(name: str) -> None:
    for task in tasks(name):
        assert task.model == "" or "@" in pinned(task.model)
        assert "alt" not in task.prompt.reads or "<alt>{alt}</alt>" in task.prompt.user
        assert task.sampling.max_tokens + task.image_tokens < task.context


def test_the_demo_recipe_uses_the_prompts_that_the_tiny_models_were_trained_on() -> None:
    known = yaml.safe_load(CHECKPOINTS.with_name("prompts.yaml").read_text())
    for task, prompt in zip(tasks("demo"), ("describe", "fuse", "student"), strict=True):
        assert {"system": task.prompt.system, "user": task.prompt.user} == known[prompt]
        assert task.prompt.alt_characters == known["alt_characters"]


def test_a_new_recipe_is_a_new_file(tmp_path: Path) -> None:
    path = saved(tmp_path, DEMO.replace("max_tokens: 160", "max_tokens: 99"))
    assert load_recipe(str(path)).task("dense").sampling.max_tokens == 99


def test_any_change_of_a_prompt_changes_its_hash() -> None:
    prompt = load_recipe("kale").task("dense").prompt
    assert prompt.hash != prompt.model_copy(update={"user": prompt.user + " "}).hash


def test_a_text_is_made_from_everything_that_its_passes_read() -> None:
    kale, densefusion = load_recipe("kale"), load_recipe("densefusion")
    assert kale.sources("caption") == {"caption", "fused", "dense", "alt"}
    assert not kale.with_alt("dense") and densefusion.with_alt("dense")


def test_a_drawing_shows_each_pass_below_what_reads_it() -> None:
    lines = list(drawing(load_recipe("kale")))
    assert lines[0].startswith("caption: caption (verifies fused against dense and alt")
    assert lines[1].startswith("  fused (asks Qwen/Qwen2.5-7B-Instruct, when alt.useful, otherwise dense)")
    assert lines[2].startswith("    dense (asks Qwen/Qwen3-VL-8B-Instruct, about the image)")


def test_a_file_that_is_no_recipe_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read as YAML"):
        load_recipe(str(saved(tmp_path, "about: [")))
    with pytest.raises(BadConfig, match=r"mine\.yaml:1: the field 'caption' is missing\. \d more: `kale recipe lint"):
        load_recipe(str(saved(tmp_path, "about: x")))


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(BadConfig, match=r"no recipe 'nope'\. Use one of best-of-n, capfilt, capsfusion"):
        load_recipe("nope")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("passes:", "pases:", 5, "there is no field 'pases'. Did you mean 'passes'?"),
        ("ask: vlm", "aks: vlm", 6, "one of ask, expert, embed, select, score, pick, verify. Did you mean 'ask'?"),
        ("ask: vlm", "ask: vml", 7, "there is no model 'vml'. Did you mean 'vlm'?"),
        ("{max_tokens: 160}", "{max_token: 160}", 10, "no field 'max_token' here. Did you mean 'max_tokens'?"),
        ("    image: true\n", "    image: true\n    prompts: x\n", 9, "Did you mean 'prompt'?"),
        ("otherwise: dense\n", "otherwise: dence\n", 14, "there is no column or pass 'dence'. Did you mean 'dense'?"),
        ("when: alt.useful", "when: alt.usefull", 13, "'usefull' is no figure of a text"),
        ("when: alt.useful", "when: len(alt) > 3", 13, "may only compare figures"),
        ("when: alt.useful", "when: caption.empty", 13, "reads 'caption', which comes after it"),
        ("otherwise: dense\n", "otherwise: fused\n", 14, "the pass 'fused' reads itself"),
        ("against: [dense, alt]", "against: [dense, atl]", 15, "there is no column or pass 'atl'. Did you mean 'alt'?"),
        ("caption: caption", "caption: capton", 19, "there is no pass 'capton'. Did you mean 'caption'?"),
        ("caption: caption\n", "caption: fused\nalso: [fusd]\n", 20, "there is no pass 'fusd'. Did you mean 'fused'?"),
        ("answer: dense", "answer: dens", 28, "there is no pass 'dens'. Did you mean 'dense'?"),
        ("answer: dense", "answer: caption", 28, "the student would learn to make up facts"),
        ("prompt: sample:describe", "prompt: sample:nothing", 9, "no prompt 'sample:nothing'. Known: describe"),
        ("prompt: sample:describe", "user: Text {alt|tpo:8}", 9, "there is no filter 'tpo'; filters: top"),
        ("prompt: sample:describe", "user: Text {alt|top:x}", 9, "the filter 'top' takes a number"),
        ("prompt: sample:describe", "user: Text {orc}", 9, "there is no column or pass 'orc'"),
        ("image_tokens: 64}", "image_side: 0}", 8, "the model 'vlm' takes no images"),
        ("  llm:", "  spare: {model: x, dtype: float32, context: 99}\n  llm:", 4, "no pass asks the model 'spare'"),
        ("    image: true\n", "    image: true\n    n: 5\n", 9, "all candidates would be equal"),
        ("    image: true\n", "    image: true\n    image: false\n", 9, "the field 'image' is given twice"),
        ("name: fused", "name: Fused", 11, "name: String should match pattern"),
        ("prompt: sample:describe", "user: Describe {item}", 9, "`{item}` needs `for_each`"),
        ("prompt: sample:describe", "user: '{Alt} {alt[0}'", 9, "'{Alt}' is no slot"),
        ("prompt: sample:describe", "user: '{Alt} {alt[0}'", 9, "'{alt[0}' is no slot"),
        ("prompt: sample:describe", "user: Describe {fused}", 9, "reads 'fused', which comes after it"),
        ("caption: caption\n", "caption: [caption]\n", 19, "'caption' must be the name of a pass"),
        ("caption: caption\n", "caption: caption\nalso: fused\n", 20, "'also' must be a list of names"),
        ("sample:teacher", "Qwen/Qwen3-VL-8B-Instruct", 3, "is not pinned"),
        ("sample:teacher", "Qwen/Qwen3-VL-8B-Instruct@main", 3, "is not pinned"),
        ("sample:teacher", "sampler:teacher", 3, "There is no model source 'sampler'"),
        ("  - name: fused", "  - {name: ocr, expert: rapidocr, minscore: 1}\n  - name: fused", 11, "'minscore'"),
        ("  prompt: sample:student", "  user: See {context} <alt>{alt}</alt>", 20, "which stage 2 does not have"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in DEMO
    found = recipe_problems(saved(tmp_path, DEMO.replace(old, new, 1)), INSTALLED)
    assert any(one.startswith(f"mine.yaml:{line}: ") and message in one for one in found), found


MEASURED = "verified: [{task: dense, engine: vllm 0.32.0, device: 1 x H100, each_second: 31.5, date: 2026-11-30}]\n"


def test_a_measurement_is_part_of_a_recipe_and_changes_none_of_its_passes(tmp_path: Path) -> None:
    plain, measured = (
        load_recipe(str(saved(tmp_path / name, DEMO + more))) for name, more in (("a", ""), ("b", MEASURED))
    )
    assert [pass_id(one, "fused") for one in (plain, measured)] == [pass_id(plain, "fused")] * 2
    assert not plain.verified and measured.verified[0].each_second == 31.5
    assert list(drawing(measured))[-1] == "verified: dense at 31.5 a second by vllm 0.32.0 on 1 x H100, 2026-11-30"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task: dense", "task: caption", "no model is asked in 'caption'"),
        ("each_second", "images_second", "there is no field 'images_second' here"),
        ("2026-11-30", "yesterday", "date"),
        ("[{", "{", "'verified' must be a list of measurements"),
    ],
)
def test_a_wrong_measurement_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = MEASURED.replace(old, new).replace("}]", "}" if new == "{" else "}]")
    found = recipe_problems(saved(tmp_path, DEMO + text))
    assert any(message in one for one in found), found


def test_a_mistake_hides_no_other(tmp_path: Path) -> None:
    found = recipe_problems(saved(tmp_path, DEMO.replace("max_tokens", "max_token")))
    assert {one.split(":")[1] for one in found} == {"10", "17", "25"}


def test_a_shipped_recipe_has_no_problem() -> None:
    assert {name: recipe_problems(Path(f"config/recipes/{name}.yaml")) for name in shipped_recipes()} == {
        name: list[Any]() for name in shipped_recipes()
    }


def test_experts_scorers_and_models_that_do_not_exist_are_named_with_the_nearest(tmp_path: Path) -> None:
    text = DEMO.replace(
        "  - name: fused\n",
        "  - {name: ocr, expert: tabel}\n  - {name: fit, score: [dense], by: encodre}\n  - name: fused\n",
    )
    text = text.replace("sample:teacher", "sample:teachar").replace(
        "caption: caption\n", "caption: caption\nalso: [ocr, fit]\n"
    )
    found = recipe_problems(saved(tmp_path, text), INSTALLED)
    for message in ("no expert 'tabel'. Did you mean 'table'?", "no scorer 'encodre'. Did you mean 'encoder'?"):
        assert any(message in problem for problem in found)
    assert any("no model 'sample:teachar'. Did you mean 'teacher'?" in problem for problem in found)


def test_alt_text_supports_nothing_in_a_text_that_was_made_without_it(tmp_path: Path) -> None:
    text = DEMO.replace("verify: fused", "verify: dense").replace("also: []", "")
    (problem,) = [one for one in recipe_problems(saved(tmp_path, text)) if "verif" in one or "alt-text" in one]
    assert "the alt-text has no part in 'dense'" in problem


SELECT = """passes:
  - {name: look, embed: efficientnet}
  - {name: chosen, select: look, copies: drop}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("efficientnet}", "efficientnett}", 6, "there is no embedder 'efficientnett'. Did you mean 'efficientnet'?"),
        ("efficientnet}", "efficientnet, text: alt}", 6, "encodes images: it takes no `text`"),
        ("efficientnet}", "minilm}", 6, "encodes texts: say which by `text`"),
        ("efficientnet}", "efficientnet, side: 9}", 6, "rejects its options"),
        ("select: look", "select: dense", 7, "reads 'dense', which comes after it"),
        (", copies: drop", "", 7, "`select` needs `copies`, `evaluation`, `best` or `share`"),
        ("copies: drop", "best: 2, share: 0.1", 7, "give `best`, rows of each cluster, or `share`"),
        ("copies: drop", "evaluation: drop, earlier: true", 7, "give `copies`, too"),
        ("copies: drop", "copies: drop, keep: diverse", 7, "`clusters` and `keep` need `best` or `share`"),
        ("copies: drop", "copies: drop, among: look", 7, "give `among` to the `embed` pass"),
        ("among: chosen", "among: look", 8, "'look' makes vectors, no texts: only `select` reads it"),
        ("among: chosen", "among: chosne", 8, "there is no column or pass 'chosne'. Did you mean 'chosen'?"),
    ],
)
def test_what_is_wrong_with_a_selection_is_named_by_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    text = DEMO.replace("passes:\n", SELECT, 1).replace("- name: dense\n", "- name: dense\n    among: chosen\n", 1)
    assert recipe_problems(saved(tmp_path, text), INSTALLED) == []
    found = recipe_problems(saved(tmp_path, text.replace(old, new, 1)), INSTALLED)
    assert any(message in one and one.startswith("mine.yaml:") for one in found), found
    assert {int(one.split(":")[1]) for one in found} & {line, line + 1, line + 2}
