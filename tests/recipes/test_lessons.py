"""Lessons of a student may show passes and the length of the answer, and never what the answer is made of."""

from pathlib import Path

import pytest
import yaml

from kale_tasks.recipes.read import recipe_problems
from kale_tasks.recipes.recipe import load_recipe

DEMO = yaml.safe_load(Path("config/recipes/demo.yaml").read_text())
BINNED = [
    {"name": "fit", "score": ["caption"], "by": "labels"},
    {"name": "bin", "pick": ["caption"], "of": "fit", "bins": [0.1, 0.2]},
]


def saved(folder: Path, lesson: dict[str, str], **student: str) -> Path:
    """A recipe like the demo's, with bins of a score and one more lesson."""
    lessons = [*DEMO["student"]["lessons"], {"weight": 1, **lesson}]
    own = {**DEMO["student"], "lessons": lessons, **student}
    if student:
        del own["prompt"]
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**DEMO, "passes": [*DEMO["passes"], *BINNED], "student": own}))
    return path


def test_captions_carry_the_passes_that_a_lesson_shows(tmp_path: Path) -> None:
    lesson = {"answer": "caption", "user": "Quality {bin}, {words} words. <alt>{alt}</alt>"}
    path = saved(tmp_path, lesson)
    assert recipe_problems(path) == [] and load_recipe(str(path)).kept == ["bin"]


@pytest.mark.parametrize(
    ("answer", "user", "problem"),
    [
        ("caption", "{bin} {dense} <alt>{alt}</alt>", "shows 'dense', which gives 'caption' away"),
        ("dense", "{bin} {dense}", "shows 'dense', which gives 'dense' away"),
        ("dense", "{bin} {fused} <alt>{alt}</alt>", "shows 'fused', which gives 'dense' away"),
        ("caption", "Quality {bin}, {words} words.", "does not show the alt-text"),
        ("caption", "{bin} {best} <alt>{alt}</alt>", "reads 'best', which stage 2 does not have"),
    ],
)
def test_a_lesson_that_gives_its_answer_away_or_hides_its_source_is_refused(
    tmp_path: Path, answer: str, user: str, problem: str
) -> None:
    (found, *_) = recipe_problems(saved(tmp_path, {"answer": answer, "user": user}))
    assert problem in found


def test_the_prompt_of_stage_2_has_neither_bins_nor_lengths(tmp_path: Path) -> None:
    path = saved(tmp_path, {"answer": "dense", "user": "x"}, user="Quality {bin}, {words} words. <alt>{alt}</alt>")
    assert {name for name in ("bin", "words") for one in recipe_problems(path) if f"reads '{name}'" in one} == {
        "bin", "words"
    }  # fmt: skip
