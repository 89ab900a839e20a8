"""The distill step: trains a student on committed stage-1 captions, evaluates and registers it, promotes a good one."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks import __version__
from kale_tasks.contract.step import Input, Step, committed_input
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.distill.dataset import IMAGES, caption_keys, stage1, stage1_keys, variant_name
from kale_tasks.engines.base import ENGINES
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.models import students
from kale_tasks.models.locate import pinned
from kale_tasks.recipes.files import JUDGED_BY, variant_of
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import read_sealed
from kale_tasks.settings.model import Settings


class Distill(Step):
    """Turns the stage-1 captions of all keys up to the run's key into one row of `models`."""

    name: ClassVar[str] = "distill"
    table: ClassVar[str] = "models"
    keep: ClassVar[bool] = True

    def __init__(self, recipe: str) -> None:
        self.recipe = load_recipe(recipe)
        self.slice = {"recipe": self.recipe.name}  # type: ignore[misc]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        recipe = self.recipe
        distill = settings.distill
        return {
            **distill.semantic(),
            "base": pinned(distill.base) if distill.base else f"{pinned(distill.vision)} + {pinned(distill.llm)}",
            "prompt": recipe.student.prompt.hash,
            "taught": [lesson.semantic() for lesson in recipe.student.lessons],
            "longest": recipe.student.sampling.max_tokens,
        }

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        name = self.recipe.name
        keys = stage1_keys(lake, name, key)
        if not keys:
            raise Conflict(
                f"There are no stage-1 captions of the recipe '{name}' up to {key} yet. Run "
                f"`kale run captions --key KEY` first."
            )
        captions = {found: committed_input(lake, "captions", found, stage1(name)) for found in keys}
        held_out = {
            variant_name(found, variant): committed_input(lake, "captions", found, stage1(of))
            for variant in JUDGED_BY
            for of in [variant_of(name, variant)]
            for found in stage1_keys(lake, of, key)
            if found in captions
        }
        images = {IMAGES + found: committed_input(lake, "images", found) for found in keys}
        return {**captions, **held_out, **images}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        ENGINES.reference(run.settings.caption.engine)  # an unknown engine must fail the plan, not the judgement
        train = run.settings.distill.train
        return [Chunk(index=0, first_part=0, parts=1, stop=train.steps * train.batch * train.accumulate)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        from kale_tasks.distill.finalize import finalize_student
        from kale_tasks.distill.launch import run_training

        run_training(run)
        with tempfile.TemporaryDirectory() as folder:
            student = finalize_student(run, Path(folder))
            version, files = students.store(run.lake, Path(folder))
        row = {
            "version": version,
            "key": run.key,
            "path": students.student_path(version),
            "base": run.config["base"],
            "recipe": self.recipe.name,
            "parents": json.dumps({key: run.inputs[key] for key in caption_keys(run.inputs)}, sort_keys=True),
            "rows": student.examples,
            "steps": run.settings.distill.train.steps,
            "metrics": json.dumps(student.metrics),
            "accepted": student.verdict.accepted,
            "verdict": student.verdict.text,
            "config": json.dumps(run.config, sort_keys=True),
            "code": f"{__version__}/{self.name}-{self.version}",
            "files": json.dumps(files, sort_keys=True),
        }
        yield Part(0, pa.Table.from_pylist([row]), rows_in=1)

    def after_commit(self, run: Run, committed: Committed) -> None:
        """Promote an accepted student. Raises BadData with the verdict for a refused one."""
        from kale_tasks.distill.checkpoint import checkpoint_folder  # imports torch

        for entry in list(run.lake.storage.entries(checkpoint_folder(run.folder))):
            run.lake.storage.delete(entry.path)
        sealed = read_sealed(run.lake.storage, run.folder)
        assert sealed  # it is committed
        with run.lake.storage.arrow.open_input_file(sealed.paths("models")[0]) as file:
            (version,) = pq.read_table(file, columns=["version"])["version"].to_pylist()
        student = students.find(run.lake, version)
        if not student.accepted:
            raise BadData(f"Student {student.version} is registered, but not promoted. {student.verdict}")
        if student.version in {entry.version for entry in students.history(run.lake, self.recipe.name)}:
            return  # a repeated commit must not undo what a person has decided since
        students.succeed(run.lake, self.recipe.name, student.version, student.verdict, student.metrics["predecessor"])
