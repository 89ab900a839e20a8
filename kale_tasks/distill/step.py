"""The distill step: train a student on the captions that stand, judge it, register it; promote it if it is good."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks import __version__
from kale_tasks.contract.step import Chunk, Part, committed_input
from kale_tasks.distill.dataset import STAGE1, taught_keys
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.parts import PartMeta, part_path
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.models import students as registry
from kale_tasks.recipes.recipe import load_recipe, recipe_name
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings


class Distill:
    """Captions of all keys up to this one in, one row of `models` out."""

    name: ClassVar[str] = "distill"
    version: ClassVar[int] = 1
    table: ClassVar[str] = "models"
    slice: ClassVar[Mapping[str, Any]] = {}
    also: ClassVar[tuple[str, ...]] = ()
    keep: ClassVar[bool] = True

    def config(self, settings: Settings) -> Mapping[str, Any]:
        from kale_tasks.distill.model import base_name

        recipe = load_recipe(settings.caption.recipe)
        prompts = {"student": recipe.student.prompt.hash, "dense": recipe.dense.prompt.hash}
        return {
            **settings.distill.semantic(),
            "base": base_name(settings.distill),
            "prompts": prompts,
            "longest": recipe.student.sampling.max_tokens,
        }

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        keys = taught_keys(lake, key)
        if not keys:
            raise Conflict(f"There are no stage-1 captions up to {key} yet. Run fuse first.")
        return {found: committed_input(lake, "captions", found, STAGE1) for found in keys}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        train = run.settings.distill.train
        return [Chunk(index=0, first_part=0, parts=1, stop=train.steps * train.batch * train.accumulate)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        from kale_tasks.distill.finalize import graduate, learn

        learn(run)
        with tempfile.TemporaryDirectory() as folder:
            student = graduate(run, Path(folder))
            version, files = registry.store(run.lake, Path(folder))
        row = {
            "version": version,
            "key": run.key,
            "path": registry.student_path(version),
            "base": run.config["base"],
            "recipe": recipe_name(run.settings.caption.recipe),
            "parents": json.dumps(run.inputs, sort_keys=True),
            "rows": student.lessons,
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
        """Promote the student if its gate let it through; BadData, with the verdict, if not."""
        for entry in list(run.lake.storage.entries(checkpoints(run))):
            run.lake.storage.delete(entry.path)
        with run.lake.storage.arrow.open_input_file(part_path(run.folder, 0)) as file:
            (version,) = pq.read_table(file, columns=["version"])["version"].to_pylist()
        student = registry.find(run.lake, version)
        if not student.accepted:
            raise BadData(f"Student {student.version} is registered, but not promoted. {student.verdict}")
        if student.version in {entry.version for entry in registry.history(run.lake)}:
            return  # this commit was repeated; what people decided since then stands
        registry.succeed(run.lake, student.version, student.verdict, student.metrics["predecessor"])


def checkpoints(run: Run) -> str:
    """Where the checkpoints of a run stand until its student is registered."""
    return f"{run.folder}/checkpoints"
