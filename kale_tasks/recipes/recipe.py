"""Recipes: lists of passes that make a caption, and what a student learns from their texts."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from kale_tasks.errors import BadConfig
from kale_tasks.recipes.parts import AnyPass, AskPass, Grounding, Lesson, ModelSpec, Student, Task, VerifyPass
from kale_tasks.recipes.read import read_recipe
from kale_tasks.recipes.slots import COLUMNS
from kale_tasks.resources import resource
from kale_tasks.settings.section import Section


class TwoSteps(NamedTuple):
    """A recipe as the steps `dense` and `fuse` run it: a description, and what becomes of it and the alt-text."""

    dense: AskPass
    fused: AskPass | None
    verified: VerifyPass | None


class Recipe(Section):
    """One way to make captions."""

    about: str
    models: dict[str, ModelSpec]
    passes: list[AnyPass]
    caption: str
    also: list[str] = Field(default_factory=list)
    student: Student

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
        common = {field: getattr(asked, field) for field in ("prompt", "sampling", "clean", "retries")}
        return Task(**known, **common, grounding=self._grounding(name))

    def with_alt(self, name: str) -> bool:
        """Whether the alt-text has a part in the text of a pass."""
        return "alt" in self.sources(name)

    def sources(self, name: str) -> set[str]:
        """Every column and pass that a text is made from, directly or through other passes; itself included."""
        if name in COLUMNS:
            return {name}
        return {name}.union(*(self.sources(read) for read in self.find(name).reads()))

    @property
    def two_steps(self) -> TwoSteps | None:
        """The recipe as the steps `dense` and `fuse` run it; None if it has another shape."""
        dense, *rest = self.passes
        verified = rest[-1] if rest and isinstance(rest[-1], VerifyPass) else None
        rest = rest[:-1] if verified else rest
        fused = rest.pop() if rest else None
        if rest or not _describes(dense) or not (fused is None or _fuses(fused, dense.name)):
            return None
        last = fused.name if fused else dense.name
        if verified and (verified.verify != last or fused is None or set(verified.against) != {dense.name, "alt"}):
            return None
        published = self.caption == (verified.name if verified else last)
        return TwoSteps(dense, fused, verified) if published else None  # type: ignore[arg-type]

    def own_lesson(self) -> Lesson:
        """The lesson in which the student captions as in stage 2."""
        return Lesson(weight=1, answer=self.caption)

    def _grounding(self, name: str) -> Grounding:
        shape = self.two_steps
        if shape is None or shape.verified is None or name != shape.verified.verify:
            return Grounding()
        otherwise = "cut" if shape.verified.otherwise == "cut" else "dense"
        return Grounding(allowed=shape.verified.allowed, otherwise=otherwise)


def _describes(one: AnyPass) -> bool:
    return isinstance(one, AskPass) and one.image is True and _is_plain(one) and one.when is None


def _fuses(one: AnyPass, dense: str) -> bool:
    if not isinstance(one, AskPass) or one.image or not _is_plain(one):
        return False
    return one.prompt.reads == {dense, "alt"} and one.when == "alt.useful" and one.otherwise == dense


def _is_plain(one: AnyPass) -> bool:
    return isinstance(one, AskPass) and one.n == one.rounds == 1 and not (one.vary or one.parse or one.for_each)


def load_recipe(name: str) -> Recipe:
    """Load the recipe of that name from config/recipes, or from a path that ends in .yaml."""
    path = recipe_path(name)
    return _read(path, path.stat().st_mtime_ns)


def recipe_path(name: str) -> Path:
    """The file of a recipe, given its name or path; BadConfig if there is none."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else resource(f"config/recipes/{name}.yaml")
    if not path.exists():
        raise BadConfig(
            f"There is no recipe '{name}'. Use one of {', '.join(shipped_recipes())}, or the path of a YAML file."
        )
    return path


def shipped_recipes() -> list[str]:
    """The names of the recipes in config/recipes."""
    return sorted(path.stem for path in resource("config/recipes").glob("*.yaml"))


def recipe_name(name: str) -> str:
    """Return the name of a recipe as rows store it: the file name without its ending."""
    return Path(name).stem


def drawing(recipe: Recipe) -> Iterator[str]:
    """Draw the passes of a recipe as a tree of text: each caption with what it is made from below it."""
    yield from _branch(recipe, recipe.caption, "", "caption: ")
    for name in recipe.also:
        yield from _branch(recipe, name, "", "also: ")
    for lesson in recipe.student.lessons:
        slots = sorted(recipe.student.lesson_prompt(lesson).reads - {*lesson.without})
        shown = " and ".join(["the image", *slots])
        yield f"student: {lesson.weight:g} of the lessons show {shown}, the answer is {lesson.answer}"


def _branch(recipe: Recipe, name: str, indent: str, title: str = "") -> Iterator[str]:
    if name in COLUMNS:
        yield f"{indent}{title}{name} ({COLUMNS[name]})"
        return
    one = recipe.find(name)
    yield f"{indent}{title}{name} ({_described(recipe, one)})"
    for read in dict.fromkeys(one.reads()):
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


@cache
def _read(path: Path, _changed: int) -> Recipe:
    return Recipe.model_construct(**read_recipe(path))
