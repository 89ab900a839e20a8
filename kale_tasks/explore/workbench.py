"""A lake for own pictures in a folder of its own, and its steps run one by one, without checks that need many rows."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kale_tasks.captions.steps import find_spec, pass_specs
from kale_tasks.contract.registry import ASSEMBLY, StepSpec
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.progress import Progress
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings, load

_OWN = "profile=own"


class Ran(NamedTuple):
    """A step that has run: its spec, what was committed, and the seconds it took."""

    spec: StepSpec
    committed: Committed
    seconds: float
    summary: str


class Workbench:
    """Runs steps on one key of a lake."""

    def __init__(self, settings: Settings, key: str, progress: Progress | None = None) -> None:
        self.settings, self.key, self._progress = settings, key, progress
        self.lake = Lake(settings)

    def run(self, spec: StepSpec) -> Ran:
        """Run a step."""
        began = time.perf_counter()
        run = Run(replace(spec, suite=None).load(), self.lake, self.settings, self.key, progress=self._progress)
        committed = execute(run)
        return Ran(spec, committed, time.perf_counter() - began, run.step.summary(run))

    def first_steps(self) -> list[StepSpec]:
        """The steps before any caption."""
        return [find_spec(name, self.settings) for name in ("ingest", "images")]

    def passes(self, names: Sequence[str] | None = None) -> list[StepSpec]:
        """The passes of the recipe, or those of these names; all of them end with the assembly."""
        specs = pass_specs(self.settings.caption.recipe)
        if names is None:
            return [*specs, find_spec(ASSEMBLY, self.settings)]
        return [spec for spec in specs if spec.label in names]


def own_settings(folder: Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings for own pictures, with landing and lake in a folder."""
    return _in_folder(load([_OWN, *overrides]).settings, folder)


def like_own(settings: Settings, folder: Path) -> Settings:
    """Settings with a recipe and an engine as a person has them, but those of own pictures for all before captions."""
    own = load([_OWN], environ={}).settings
    return _in_folder(settings.model_copy(update={"ingest": own.ingest, "parts": own.parts}), folder)


def _in_folder(settings: Settings, folder: Path) -> Settings:
    images = settings.images.model_copy(update={"evaluation": None, "spool": str(folder / "spool")})
    return settings.model_copy(
        update={
            "landing": str(folder / "landing"),
            "warehouse": str(folder / "lake"),
            "catalog": None,
            "limit": None,
            "preview": None,
            "images": images,
        }
    )
