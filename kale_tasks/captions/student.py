"""The step `student`: captions the images of stage 2 with the promoted student of a recipe."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from kale_tasks.captions.chunk import (
    CaptionChunk,
    answer_flags,
    fact_counts,
    injection_flags,
    result_of,
    source_columns,
)
from kale_tasks.captions.rows import CaptionResult, NoCaption, PendingPart, PendingRow, Row
from kale_tasks.captions.sizes import check_stored_size
from kale_tasks.captions.stream import CaptionStream, RowHandler
from kale_tasks.contract.step import Input, Step, committed_input, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.engines.base import ENGINES, Answer, Model
from kale_tasks.errors import Conflict
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.grounding import ground
from kale_tasks.text.words import RULES


class Student(RowHandler, Step):
    """Captions the images of stage 2 from the image and its alt-text."""

    name: ClassVar[str] = "student"
    version: ClassVar[int] = 2
    table: ClassVar[str] = "captions"

    def __init__(self, recipe: str) -> None:
        self.recipe = load_recipe(recipe)
        self.task = self.recipe.task("student")
        self.slice = {"recipe": self.recipe.name, "stage": 2}  # type: ignore[misc]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {
            "recipe": self.recipe.name,
            "task": self.task.semantic(),
            "engine": settings.caption.engine,
            "limit": settings.limit,
            "rules": RULES,
            **settings.parts.semantic(),
        }

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        tables: dict[str, Input] = {table: committed_input(lake, table, key) for table in ("images", "pairs")}
        promoted = students.promoted(lake, self.recipe.name)
        if promoted is None:
            raise Conflict(
                f"No student of the recipe '{self.recipe.name}' is promoted. Run distill, or promote one with "
                f"`kale models promote`."
            )
        return {**tables, "student": promoted.version}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        ENGINES.reference(run.settings.caption.engine)  # an unknown engine must fail the plan, not the first chunk
        check_stored_size(run.settings, self.task, f"The student of '{self.recipe.name}'")
        return row_chunks(run.settings, run.rows("images").count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        work = CaptionChunk(run, chunk, self.recipe, self._model(run))
        yield from CaptionStream(work, self.engine(run.settings.caption, work.model), self).parts(numbers)

    def _model(self, run: Run) -> Model:
        """Return the student that was promoted when the run was planned."""
        version, endpoints = run.inputs["student"], run.settings.caption.endpoints.student
        return Model(f"{students.NAMED}{version}", self.task, lambda: students.local_copy(run.lake, version), endpoints)

    def read_part(self, work: CaptionChunk, number: int) -> PendingPart:
        """Read the images of a part with their alt-texts; rows of stage 1 and of the holdout are dropped."""
        read, dropped, rows = work.image_rows(number, {"stage2": "", "holdout": "holdout"}, "not_stage2")
        pairs = work.pairs_of([row["uid"] for row in rows])
        paired = [row for row in rows if row["uid"] in pairs]
        dropped["no_pair"] = len(rows) - len(paired)

        def pending(row: Row, image: bytes) -> PendingRow:
            alt = prepare_alt(pairs[row["uid"]]["alt_text"])
            flags = [*alt.instruction_flags, *alt.noise_flags]
            source = {"sha256": row["sha256"], **pairs[row["uid"]], "alt": alt.useful, "cut": alt.cut, "flags": flags}
            return PendingRow(row["uid"], work.task.prompt.messages({"alt": alt.useful}, image=True), image, source)

        return PendingPart(number, read, work.with_images(paired, pending), dropped)

    def make_row(self, work: CaptionChunk, row: PendingRow, answer: Answer) -> CaptionResult:
        """Make a caption from an answer; there is none if cleaning leaves nothing."""
        cleaned = work.clean(answer)
        if cleaned.refused:
            return result_of(NoCaption(cleaned.refused), answer, cleaned)
        injected = injection_flags(cleaned.text, row.source["cut"], row.source["alt"])
        made = {
            **source_columns(row.source),
            **work.provenance(answer),
            "key": work.run.key,
            **self._counts(row, cleaned.text),
            **self.slice,
            "caption": cleaned.text,
            "models": [work.model.name],
            "flags": [*row.source["flags"], *answer_flags(row, answer, cleaned), *injected],
        }
        return result_of(made, answer, cleaned)

    def carried(self, row: PendingRow, made: Row) -> Row:
        """Count the facts of a caption again."""
        return {**made, **self._counts(row, made["caption"])}

    def _counts(self, row: PendingRow, caption: str) -> Row:
        return fact_counts(ground(caption, "", row.source["alt"]), dense=False, alt=True)
