"""Recipes: lists of passes that make a caption, and what a student learns from their texts."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from kale_tasks.errors import BadConfig
from kale_tasks.recipes.files import AGAIN, HOLDOUT, SAMPLED, variant_path
from kale_tasks.recipes.parts import Lesson, ModelSpec, Student, Task, Verified
from kale_tasks.recipes.passes import AnyPass, AskPass, ExpertPass, PickPass, ScorePass, SelectPass, VerifyPass
from kale_tasks.recipes.read import read_recipe
from kale_tasks.recipes.slots import COLUMNS
from kale_tasks.settings.section import Section

STAGE2 = "stage2"
_OTHER_SEED = 500_009  # away from the seeds of retries and of other candidates


class Recipe(Section):
    """One way to make captions."""

    name: str  # as rows store it
    about: str
    split: str = "stage1"  # of the images that its passes work on
    share: float = 1  # of these images
    models: dict[str, ModelSpec]
    passes: list[AnyPass]
    caption: str
    also: list[str] = Field(default_factory=list)
    student: Student
    verified: list[Verified] = Field(default_factory=list)

    def find(self, name: str) -> AnyPass:
        """The pass of that name; BadConfig if there is none."""
        for one in self.passes:
            if one.name == name:
                return one
        raise BadConfig(f"The recipe has no pass '{name}'. Passes: {', '.join(one.name for one in self.passes)}.")

    def task(self, name: str) -> Task:
        """The model call of a pass, or of the student."""
        if name == "student":
            known = {field: getattr(self.student, field) for field in Task.model_fields if hasattr(self.student, field)}
            return Task(model="", **known)
        asked = self.find(name)
        if not isinstance(asked, AskPass):
            raise BadConfig(f"The pass '{name}' asks no model.")
        model = self.models[asked.ask]
        known = {field: getattr(model, field) for field in ModelSpec.model_fields}
        common = {field: getattr(asked, field) for field in ("prompt", "sampling", "clean", "retries", "confidence")}
        return Task(**known, **common)

    def with_alt(self, name: str) -> bool:
        """Whether the alt-text has a part in the text of a pass."""
        return "alt" in self.sources(name)

    def sources(self, name: str) -> set[str]:
        """Every column and pass that a text is made from, directly or through other passes; itself included."""
        if name in COLUMNS:
            return {name}
        return {name}.union(*(self.sources(read) for read in self.find(name).reads()))

    def may_be_empty(self, name: str) -> bool:
        """Whether a pass may find nothing in a row: experts, selections, and what rates or picks what experts find."""
        one = self.find(name)
        if isinstance(one, ScorePass | PickPass):
            return all(self.may_be_empty(read) for read in one.reads() if read not in COLUMNS)
        return isinstance(one, ExpertPass | SelectPass)

    @property
    def dense(self) -> str | None:
        """The pass that describes the image: the first such one that the caption is made from; None without one."""
        found = self.sources(self.caption)
        return next((one.name for one in self.passes if _describes(one) and one.name in found), None)

    @property
    def kept(self) -> list[str]:
        """The passes whose texts captions carry in `also`: what is published or taught besides caption and dense."""
        student = self.student
        shown = {name for lesson in student.lessons for name in student.lesson_prompt(lesson).reads}
        taught = [lesson.answer for lesson in student.lessons]
        named = [*self.also, *taught, *(one.name for one in self.passes if one.name in shown)]
        return [name for name in dict.fromkeys(named) if name not in (self.caption, self.dense)]

    def own_lesson(self) -> Lesson:
        """The lesson in which the student captions as in stage 2."""
        return Lesson(weight=1, answer=self.caption)


def _describes(one: AnyPass) -> bool:
    return isinstance(one, AskPass) and one.describes


def load_recipe(name: str) -> Recipe:
    """Load the recipe of that name from config/recipes, or from a path that ends in .yaml; RECIPE@VARIANT a variant."""
    path, variant = variant_path(name)
    recipe = _read(path, path.stat().st_mtime_ns)
    return _variant(recipe, variant) if variant else recipe


def drawing(recipe: Recipe) -> Iterator[str]:
    """Draw the passes of a recipe as a tree of text: each caption with what it is made from below it."""
    yield from _branch(recipe, recipe.caption, "", "caption: ")
    for name in recipe.also:
        yield from _branch(recipe, name, "", "also: ")
    for lesson in recipe.student.lessons:
        slots = sorted(recipe.student.lesson_prompt(lesson).reads - {*lesson.without})
        shown = " and ".join(["the image", *slots])
        yield f"student: {lesson.weight:g} of the lessons show {shown}, the answer is {lesson.answer}"
    for one in recipe.verified:
        yield f"verified: {one.task} at {one.each_second:g} a second by {one.engine} on {one.device}, {one.date}"


def _branch(recipe: Recipe, name: str, indent: str, title: str = "") -> Iterator[str]:
    if name in COLUMNS:
        yield f"{indent}{title}{name} ({COLUMNS[name]})"
        return
    one = recipe.find(name)
    yield f"{indent}{title}{name} ({_described(recipe, one)})"
    for read in dict.fromkeys(one.needs()):
        yield from _branch(recipe, read, f"{indent}  ")


def _described(recipe: Recipe, one: AnyPass) -> str:
    if isinstance(one, AskPass):
        asked = f"asks {recipe.models[one.ask].model.partition('@')[0]}"
        extra: Sequence[str] = [
            *(["about the image"] if one.image is True else ["about a part of the image"] if one.image else []),
            *([f"for each {one.for_each}"] if one.for_each else []),
            *([f"{one.n} candidates"] if one.n > 1 else []),
            *([f"{one.rounds} rounds"] if one.rounds > 1 else []),
            *([f"when {one.when}"] if one.when else []),
            *([f"otherwise {one.otherwise}"] if one.otherwise else []),
        ]
        return ", ".join([asked, *extra])
    if isinstance(one, VerifyPass):
        limit = "facts counted" if one.allowed is None else f"{one.allowed} unsupported facts allowed"
        return f"verifies {one.verify} against {' and '.join(one.against)}, {limit}, otherwise {one.otherwise}"
    return f"{one.verb}: {', '.join(dict.fromkeys(one.reads())) or getattr(one, one.verb)}"


def _variant(recipe: Recipe, variant: str) -> Recipe:
    changed: dict[str, Any] = {"name": f"{recipe.name}@{variant}", "split": HOLDOUT}
    if variant == AGAIN:
        changed["passes"] = [_at_another_seed(one) for one in recipe.passes]
    if variant == SAMPLED:
        changed |= {"split": STAGE2, "share": recipe.student.sampled}
    return recipe.model_copy(update=changed)


def _at_another_seed(one: AnyPass) -> AnyPass:
    if not isinstance(one, AskPass):
        return one
    sampling = one.sampling
    drawn = {"seed": sampling.seed + _OTHER_SEED, "temperature": sampling.temperature or sampling.retry_temperature}
    return one.model_copy(update={"sampling": sampling.model_copy(update=drawn)})


@cache
def _read(path: Path, _changed: int) -> Recipe:
    return Recipe.model_construct(name=path.stem, **read_recipe(path))
