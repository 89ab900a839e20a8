"""The registry of steps: the one place that knows which steps exist and what others derive from them.

Passes of recipes are steps too. What is known of one without its recipe follows from its name, NAME-HASH.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.partition import Partition

if TYPE_CHECKING:
    from kale_tasks.contract.step import Step

ASSEMBLY = "fuse"  # the step that makes captions of the texts of passes
_PASS = re.compile(r"([a-z][a-z0-9_]*)-[0-9a-f]{12}")


@dataclass(frozen=True)
class StepSpec:
    """What is known of a step without importing its code."""

    name: str
    reference: str  # dotted name of the class, imported only in the process that runs the step
    title: str  # what people call its rows
    table: str
    slice: Mapping[str, Any] = field(default_factory=dict)
    suite: str | None = None  # dotted name of its check suite
    watched: tuple[str, ...] = ()  # figures of its check that reports plot over keys
    asset: str | None = None  # name of the Airflow asset that announces its rows
    pool: str | None = None  # Airflow pool that its work runs in
    per_key: bool = True  # False: it is made from all keys together
    by_recipe: bool = False  # True: every recipe has rows of its own
    arguments: tuple[str, ...] = ()  # of the class: the recipe, if the step is one of a recipe

    @property
    def label(self) -> str:
        """What commands call it: the name of a pass without its hash."""
        match = _PASS.fullmatch(self.name)
        return match[1] if match else self.name

    @property
    def recipe(self) -> str | None:
        """The name of the recipe whose step it is, if it is one of a recipe."""
        return PurePath(self.arguments[0]).stem if self.arguments else None

    def partition(self, key: str) -> Partition:
        """The partition that it makes for a key."""
        return Partition.of(self.table, key, self.slice)

    def applies_to(self, key: str) -> bool:
        """Whether it makes rows for this key: a step is for single keys or for all keys together."""
        return self.per_key == (key != ALL_KEYS)

    def of_recipe(self, recipe: str) -> "StepSpec":
        """The same step for one recipe, named as in the settings; a step of no recipe as it is."""
        if not self.by_recipe:
            return self
        name = PurePath(recipe).stem
        asset = self.asset and self.asset.format(recipe=name)
        return replace(self, slice={"recipe": name, **self.slice}, asset=asset, arguments=(recipe,))

    def load(self) -> "Step":
        """Import its class and make an instance."""
        module, _, name = self.reference.partition(":")
        step: Step = getattr(import_module(module), name)(*self.arguments)
        step.suite = self.suite
        return step


_SUITES = "kale_tasks.quality.suites"
ANSWERS = f"{_SUITES}.answers:AnswersSuite"  # of passes that ask something else than a description
_CAPTION_FIGURES = ("words_mean", "alt_used_share", "invented_share")
_SPECS = (
    StepSpec(
        "ingest", "kale_tasks.ingest.step:Ingest", "pairs", "pairs",
        suite=f"{_SUITES}.pairs:PairsSuite", watched=("kept_share", "words_mean"), asset="pairs", pool="spark",
    ),
    StepSpec(
        "images", "kale_tasks.images.step:Images", "images", "images",
        suite=f"{_SUITES}.images:ImagesSuite", watched=("yield_share", "dns_share"), asset="images", pool="fetch",
    ),
    StepSpec(
        "fuse", "kale_tasks.captions.assemble:Assemble", "captions, stage 1", "captions", {"stage": 1},
        suite=f"{_SUITES}.captions:FusedSuite", watched=_CAPTION_FIGURES, asset="captions/{recipe}/1", by_recipe=True,
    ),
    StepSpec(
        "distill", "kale_tasks.distill.step:Distill", "student", "models", pool="gpu", per_key=False, by_recipe=True,
    ),
    StepSpec(
        "student", "kale_tasks.captions.student:Student", "captions, stage 2", "captions", {"stage": 2},
        suite=f"{_SUITES}.captions:StudentSuite", watched=_CAPTION_FIGURES, asset="captions/{recipe}/2", pool="gpu",
        by_recipe=True,
    ),
    StepSpec("release", "kale_tasks.release.step:Release", "release", "releases", per_key=False),
)  # fmt: skip
STEPS: Mapping[str, StepSpec] = {spec.name: spec for spec in _SPECS}


def checked_steps() -> list[str]:
    """The names of the steps that have checks."""
    return [spec.name for spec in STEPS.values() if spec.suite]


def step_spec(name: str, recipe: str = "") -> StepSpec:
    """The step of that name, of a recipe if it is one of a recipe; BadConfig if there is none.

    A pass that is named with its hash can be checked and verified; running it takes its recipe.
    """
    if match := _PASS.fullmatch(name):
        suite, watched = f"{_SUITES}.captions:PassSuite", ("words_mean", "truncated_share")
        return StepSpec(name, "", f"texts of {match[1]}", "texts", {"pass": name}, suite, watched)
    if name not in STEPS:
        raise BadConfig(f"There is no step '{name}'. Steps: {', '.join(STEPS)}.")
    return STEPS[name].of_recipe(recipe) if recipe else STEPS[name]


def spec_of(partition: Partition) -> StepSpec | None:
    """The step that writes a partition, also as a side table; None for rows about Dags."""
    if name := partition.columns.get("pass") or partition.columns.get("step"):
        label, _, recipe = str(name).partition("@")
        return step_spec(label, recipe) if label in STEPS or _PASS.fullmatch(label) else None
    for spec in STEPS.values():
        if partition.table == spec.table and partition.within(spec.slice):
            return spec.of_recipe(str(partition.columns.get("recipe", "")))
    return STEPS["ingest"] if partition.table == "dedup_index" else None


def find(name: str, recipe: str = "") -> "Step":
    """An instance of the step of that name."""
    return step_spec(name, recipe).load()
