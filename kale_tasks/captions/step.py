"""The common part of the captioning steps: what they depend on, and how their rows reach an engine."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from kale_tasks.captions.chunk import CaptionChunk
from kale_tasks.captions.stream import CaptionStream, RowHandler
from kale_tasks.contract.step import Input, Step, committed_input, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.engines.base import ENGINES, Model, open_engine
from kale_tasks.errors import BadConfig
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.models.locate import locate, pinned
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import Recipe, TwoSteps, load_recipe, recipe_name
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings


class CaptionStep(RowHandler, Step):
    """A step that sends the rows of one table to a model, as a pass of the recipe says."""

    name: ClassVar[str]
    table: ClassVar[str] = "captions"
    source: ClassVar[str] = "images"  # the table whose rows are captioned

    def config(self, settings: Settings) -> Mapping[str, Any]:
        task = self._task(settings)
        return {
            "recipe": recipe_name(settings.caption.recipe),
            "task": task and {**task.semantic(), "model": task.model and pinned(task.model)},
            "engine": settings.caption.engine,
            "limit": settings.limit,
            **settings.parts.semantic(),
        }

    def chunks(self, run: Run) -> Sequence[Chunk]:
        ENGINES.reference(run.settings.caption.engine)  # an unknown engine must fail the plan, not the first chunk
        _check_stored_size(run.settings, self._task(run.settings))
        return row_chunks(run.settings, run.rows(self.source).count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        recipe = load_recipe(run.settings.caption.recipe)
        # Without a pass of its own, fuse asks no model: it copies the dense captions.
        model = self.model(run, self._task(run.settings) or recipe.task(two_steps(recipe).dense.name))
        work = CaptionChunk(run, chunk, recipe, model)
        yield from CaptionStream(work, open_engine(run.settings.caption, model), self).parts(numbers)

    @abstractmethod
    def pass_name(self, recipe: Recipe) -> str | None:
        """Return the name of the pass that this step runs, if the recipe has one."""

    def model(self, run: Run, task: Task) -> Model:
        """Return the model that answers the requests of this step."""
        endpoints: Sequence[str] = getattr(run.settings.caption.endpoints, self.name)
        return Model(pinned(task.model), task, lambda: locate(task.model), endpoints)

    def _task(self, settings: Settings) -> Task | None:
        recipe = load_recipe(settings.caption.recipe)
        name = self.pass_name(recipe)
        return recipe.task(name) if name else None


def two_steps(recipe: Recipe) -> TwoSteps:
    """Return the passes that the steps `dense` and `fuse` run; BadConfig for a recipe of another shape."""
    if recipe.two_steps is None:
        raise BadConfig(
            "The steps dense and fuse run recipes that describe the image, fuse the description with the alt-text when "
            "it is useful, and verify the result against both. This recipe has other passes: "
            "`kale recipe run` runs them, into the table `texts`."
        )
    return recipe.two_steps


def _check_stored_size(settings: Settings, task: Task | None) -> None:
    """Raise BadConfig if a recipe asks for larger images than are stored."""
    decode = settings.images.decode
    if task and decode.resize == "longer" and not decode.originals and task.image_side > decode.max_side:
        raise BadConfig(
            f"The recipe '{recipe_name(settings.caption.recipe)}' asks for images of {task.image_side} pixels, but "
            f"images are stored with {decode.max_side}. Raise images.decode.max_side and run images again, or lower "
            "image_side."
        )


def committed_inputs(lake: Lake, key: str, *tables: str) -> dict[str, Input]:
    """Open each table at a key; Conflict if one has nothing committed."""
    return {table: committed_input(lake, table, key) for table in tables}
