"""The step `student`: captions the images of stage 2 with the promoted student."""

from collections.abc import Mapping
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
from kale_tasks.captions.step import CaptionStep, committed_inputs
from kale_tasks.contract.step import Input
from kale_tasks.engines.base import Answer, Model
from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.facts import is_number
from kale_tasks.text.grounding import ground


class Student(CaptionStep):
    """Captions the images of stage 2 from the image and its alt-text."""

    name: ClassVar[str] = "student"
    version: ClassVar[int] = 2
    slice: ClassVar[Mapping[str, Any]] = {"stage": 2}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        tables = committed_inputs(lake, key, "images", "pairs")
        promoted = students.promoted(lake)
        if promoted is None:
            raise Conflict("No student is promoted. Run distill, or promote one with `kale models promote`.")
        return {**tables, "student": promoted.version}

    def model(self, run: Run, task: Task) -> Model:
        """Return the student that was promoted when the run was planned."""
        version, endpoints = run.inputs["student"], run.settings.caption.endpoints.student
        return Model(f"{students.NAMED}{version}", task, lambda: students.local_copy(run.lake, version), endpoints)

    def pass_name(self, recipe: Recipe) -> str | None:
        """Return the name of the student's own model call."""
        return "student"

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
        grounding = ground(cleaned.text, "", row.source["alt"])
        # Without a dense caption, a number may have been read off the image: only names count as invented.
        invented = sum(not is_number(fact) for fact in grounding.invented)
        injected = injection_flags(cleaned.text, row.source["cut"], row.source["alt"])
        made = {
            **source_columns(row.source),
            **work.provenance(answer),
            **fact_counts(grounding),
            "stage": 2,
            "facts_from_dense": None,
            "facts_invented": invented,
            "caption": cleaned.text,
            "models": [work.model.name],
            "flags": [*row.source["flags"], *answer_flags(row, answer, cleaned), *injected],
        }
        return result_of(made, answer, cleaned)
