"""The step `dense`: describes the images of stage 1."""

from collections.abc import Mapping
from typing import ClassVar

from kale_tasks.captions.chunk import CaptionChunk, answer_flags, result_of
from kale_tasks.captions.rows import CaptionResult, NoCaption, PendingPart, PendingRow, Row
from kale_tasks.captions.step import CaptionStep, committed_inputs, two_steps
from kale_tasks.contract.step import Input
from kale_tasks.engines.base import Answer
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import Recipe, load_recipe
from kale_tasks.settings import Settings
from kale_tasks.text.alttext import without_instructions


class Dense(CaptionStep):
    """Describes the images of stage 1, with the alt-text as a hint if the recipe's prompt uses it."""

    name: ClassVar[str] = "dense"
    version: ClassVar[int] = 2
    table: ClassVar[str] = "dense"

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        wants_alt = "alt" in two_steps(load_recipe(settings.caption.recipe)).dense.prompt.reads
        return committed_inputs(lake, key, "images", *(["pairs"] if wants_alt else []))

    def pass_name(self, recipe: Recipe) -> str | None:
        """Return the name of the pass that describes the image."""
        return two_steps(recipe).dense.name

    def read_part(self, work: CaptionChunk, number: int) -> PendingPart:
        """Read the images of a part; rows of other splits are dropped."""
        read, dropped, rows = work.image_rows(number, {"stage1": ""}, "not_stage1")
        pairs = work.pairs_of([row["uid"] for row in rows]) if "alt" in work.task.prompt.reads else {}

        def pending(row: Row, image: bytes) -> PendingRow:
            alt = without_instructions((pairs.get(row["uid"]) or {}).get("alt_text") or "")
            return PendingRow(row["uid"], work.task.prompt.messages({"alt": alt}, image=True), image)

        return PendingPart(number, read, work.with_images(rows, pending), dropped)

    def make_row(self, work: CaptionChunk, row: PendingRow, answer: Answer) -> CaptionResult:
        """Make a dense caption from an answer; there is none if cleaning leaves nothing."""
        cleaned = work.clean(answer)
        if cleaned.refused:
            return result_of(NoCaption(cleaned.refused), answer, cleaned)
        made = {
            **work.provenance(answer),
            "uid": row.uid,
            "text": cleaned.text,
            "model": work.model.name,
            "flags": answer_flags(row, answer, cleaned),
        }
        return result_of(made, answer, cleaned)
