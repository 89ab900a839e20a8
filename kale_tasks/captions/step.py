"""The captioning steps: dense describes images, fuse adds what alt-texts know, the student does both at once."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from kale_tasks.captions.dense import DenseDesk
from kale_tasks.captions.fuse import FuseDesk
from kale_tasks.captions.stream import Judge, Stream
from kale_tasks.captions.student import StudentDesk
from kale_tasks.contract.step import Chunk, Part, committed_input, row_chunks
from kale_tasks.engines.base import Model, open_engine
from kale_tasks.errors import Conflict
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.models.locate import locate, pinned
from kale_tasks.recipes.recipe import Recipe, Task, load_recipe, recipe_name
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings


class _Captioner(ABC):
    """What the three steps share: the rows of one table are streamed through one model."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    table: ClassVar[str] = "captions"
    slice: ClassVar[Mapping[str, Any]] = {}
    also: ClassVar[tuple[str, ...]] = ()
    keep: ClassVar[bool] = False
    source: ClassVar[str] = "images"

    def config(self, settings: Settings) -> Mapping[str, Any]:
        task = self._task(load_recipe(settings.caption.recipe))
        return {
            "recipe": recipe_name(settings.caption.recipe),
            "task": task and {**task.model_dump(mode="json"), "model": task.model and pinned(task.model)},
            "engine": settings.caption.engine,
            "limit": settings.limit,
            **settings.parts.semantic(),
        }

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        task = self._task(load_recipe(settings.caption.recipe))
        sources = dict.fromkeys((self.source, *(["pairs"] if task is None or task.prompt.wants_alt else [])))
        return {table: committed_input(lake, table, key) for table in sources}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, run.rows(self.source).count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        recipe = load_recipe(run.settings.caption.recipe)
        model = self._model(run, self._task(recipe) or recipe.dense)
        engine = open_engine(run.settings.caption, model)
        yield from Stream(run, engine, self._desk(run, chunk, recipe, model)).parts(numbers)

    def _model(self, run: Run, task: Task) -> Model:
        endpoints: Sequence[str] = getattr(run.settings.caption.endpoints, self.name)
        return Model(pinned(task.model), task, lambda: locate(task.model), endpoints)

    @abstractmethod
    def _task(self, recipe: Recipe) -> Task | None:
        """What of a recipe this step does."""

    @abstractmethod
    def _desk(self, run: Run, chunk: Chunk, recipe: Recipe, model: Model) -> Judge:
        """Who asks the model and judges its answers."""


class Dense(_Captioner):
    """Describes the images of stage 1."""

    name: ClassVar[str] = "dense"
    table: ClassVar[str] = "dense"

    def _task(self, recipe: Recipe) -> Task | None:
        return recipe.dense

    def _desk(self, run: Run, chunk: Chunk, recipe: Recipe, model: Model) -> Judge:
        return DenseDesk(run, chunk, model)


class Fuse(_Captioner):
    """Joins dense captions with what the alt-texts know."""

    name: ClassVar[str] = "fuse"
    slice: ClassVar[Mapping[str, Any]] = {"stage": 1}
    source: ClassVar[str] = "dense"

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        return {table: committed_input(lake, table, key) for table in ("dense", "images", "pairs")}

    def _task(self, recipe: Recipe) -> Task | None:
        return recipe.fuse

    def _desk(self, run: Run, chunk: Chunk, recipe: Recipe, model: Model) -> Judge:
        return FuseDesk(run, chunk, model, fuses=recipe.fuse is not None)


class Student(_Captioner):
    """Writes the captions of stage 2 with the promoted student."""

    name: ClassVar[str] = "student"
    slice: ClassVar[Mapping[str, Any]] = {"stage": 2}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        sources = {table: committed_input(lake, table, key) for table in ("images", "pairs")}
        return {**sources, "student": _promoted(lake)}

    def _task(self, recipe: Recipe) -> Task | None:
        return recipe.student

    def _model(self, run: Run, task: Task) -> Model:
        version = run.inputs["student"]
        endpoints = run.settings.caption.endpoints.student
        return Model(f"{registry.NAMED}{version}", task, lambda: registry.local_copy(run.lake, version), endpoints)

    def _desk(self, run: Run, chunk: Chunk, recipe: Recipe, model: Model) -> Judge:
        return StudentDesk(run, chunk, model)


def _promoted(lake: Lake) -> str:
    student = registry.promoted(lake)
    if student is None:
        raise Conflict("No student is promoted. Run distill, or promote one with `kale models promote`.")
    return student.version
