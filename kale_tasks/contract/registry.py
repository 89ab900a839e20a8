"""The registry of steps: the one place that knows which steps exist and what others derive from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.partition import Partition

if TYPE_CHECKING:
    from kale_tasks.contract.step import Step


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

    def partition(self, key: str) -> Partition:
        """The partition that it makes for a key."""
        return Partition.of(self.table, key, self.slice)

    def applies_to(self, key: str) -> bool:
        """Whether it makes rows for this key: a step is for single keys or for all keys together."""
        return self.per_key == (key != ALL_KEYS)

    def load(self) -> "Step":
        """Import its class and make an instance."""
        module, _, name = self.reference.partition(":")
        step: Step = getattr(import_module(module), name)()
        step.suite = self.suite
        return step


_SUITES = "kale_tasks.quality.suites"
_CAPTION_FIGURES = ("words_mean", "alt_used_share", "invented_share")
_SPECS = (
    StepSpec(
        "ingest", "kale_tasks.ingest.step:Ingest", "pairs", "pairs",
        suite=f"{_SUITES}.pairs:PairsSuite", watched=("kept_share", "words_mean"), asset="pairs", pool="spark",
    ),
    StepSpec(
        "images", "kale_tasks.images.step:Images", "images", "images",
        suite=f"{_SUITES}.images:ImagesSuite", watched=("yield_share", "dns_share"), asset="images",
    ),
    StepSpec(
        "dense", "kale_tasks.captions.dense:Dense", "dense captions", "dense",
        suite=f"{_SUITES}.captions:DenseSuite", watched=("words_mean", "truncated_share"), pool="gpu",
    ),
    StepSpec(
        "fuse", "kale_tasks.captions.fuse:Fuse", "captions, stage 1", "captions", {"stage": 1},
        suite=f"{_SUITES}.captions:FusedSuite", watched=_CAPTION_FIGURES, asset="captions1", pool="gpu",
    ),
    StepSpec(
        "distill", "kale_tasks.distill.step:Distill", "student", "models", pool="gpu", per_key=False,
    ),
    StepSpec(
        "student", "kale_tasks.captions.student:Student", "captions, stage 2", "captions", {"stage": 2},
        suite=f"{_SUITES}.captions:StudentSuite", watched=_CAPTION_FIGURES, asset="captions2", pool="gpu",
    ),
    StepSpec("release", "kale_tasks.release.step:Release", "release", "releases", per_key=False),
)  # fmt: skip
STEPS: Mapping[str, StepSpec] = {spec.name: spec for spec in _SPECS}


def checked_steps() -> list[str]:
    """The names of the steps that have checks."""
    return [spec.name for spec in STEPS.values() if spec.suite]


def step_spec(name: str) -> StepSpec:
    """The step of that name; BadConfig if there is none."""
    if name not in STEPS:
        raise BadConfig(f"There is no step '{name}'. Steps: {', '.join(STEPS)}.")
    return STEPS[name]


def find(name: str) -> "Step":
    """An instance of the step of that name."""
    return step_spec(name).load()
