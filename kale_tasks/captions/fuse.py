"""The step `fuse`: joins dense captions with their alt-texts into the captions of stage 1."""

from collections import Counter
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
from kale_tasks.captions.clean import Cleaned
from kale_tasks.captions.rows import CaptionResult, NoCaption, PendingPart, PendingRow, Row
from kale_tasks.captions.step import CaptionStep, committed_inputs, two_steps
from kale_tasks.contract.step import Input
from kale_tasks.engines.base import Answer
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import Recipe, recipe_name
from kale_tasks.settings import Settings
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.grounding import Grounding, ground
from kale_tasks.text.sentences import without_facts


class Fuse(CaptionStep):
    """Adds what the alt-text knows to the dense caption."""

    name: ClassVar[str] = "fuse"
    version: ClassVar[int] = 2
    slice: ClassVar[Mapping[str, Any]] = {"stage": 1}
    source: ClassVar[str] = "dense"

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return committed_inputs(lake, key, "dense", "images", "pairs")

    def pass_name(self, recipe: Recipe) -> str | None:
        """Return the name of the pass that fuses; None if the dense caption is the caption."""
        fused = two_steps(recipe).fused
        return fused.name if fused else None

    def read_part(self, work: CaptionChunk, number: int) -> PendingPart:
        """Read the dense captions of a part with their alt-texts. Rows with nothing to fuse need no request."""
        rows = work.dense.read(*work.span(number), ["uid", "text", "model"]).to_pylist()
        uids = [row["uid"] for row in rows]
        pairs, hashes = work.pairs_of(uids), work.hashes_of(uids)
        complete = [row for row in rows if row["uid"] in pairs and row["uid"] in hashes]
        pending = [_pending(work, {**hashes[row["uid"]], **pairs[row["uid"]], **row}) for row in complete]
        return PendingPart(number, len(rows), pending, Counter({"no_pair": len(rows) - len(complete)}))

    def make_row(self, work: CaptionChunk, row: PendingRow, answer: Answer) -> CaptionResult:
        """Make a caption from an answer.

        There is none if cleaning leaves nothing, or if the answer states more facts than the recipe allows that neither
        source has. The row to fall back to is then the dense caption, or the answer without those sentences.
        """
        source, cleaned, rule = row.source, work.clean(answer), work.task.grounding
        fallback = _dense_as_caption(work, source, ["fallback_dense"])
        if cleaned.refused:
            return result_of(NoCaption(cleaned.refused, fallback=fallback), answer, cleaned)
        grounding = ground(cleaned.text, source["text"], source["alt"])
        made = _fused(work, row, answer, cleaned, grounding)
        if rule.allowed is None or len(grounding.invented) <= rule.allowed:
            return result_of(made, answer, cleaned)
        if rule.otherwise == "cut" and (shorter := without_facts(cleaned.text, grounding.invented)):
            cut = Cleaned(shorter, (*cleaned.fired, "ungrounded"))
            fallback = _fused(work, row, answer, cut, ground(shorter, source["text"], source["alt"]))
        return result_of(NoCaption("ungrounded", fallback=fallback), answer, cleaned)


def _pending(work: CaptionChunk, known: Row) -> PendingRow:
    alt = prepare_alt(known["alt_text"])
    source = {**known, "alt": alt.text, "cut": alt.cut, "flags": alt.instruction_flags}
    passes = two_steps(work.recipe)
    if passes.fused is None:
        return PendingRow(known["uid"], outcome=_dense_as_caption(work, source, []))
    if alt.noise:
        return PendingRow(known["uid"], outcome=_dense_as_caption(work, source, alt.noise_flags))
    messages = work.task.prompt.messages({"alt": alt.text, passes.dense.name: known["text"]}, image=False)
    return PendingRow(known["uid"], messages, source=source)


def _fused(work: CaptionChunk, row: PendingRow, answer: Answer, cleaned: Cleaned, grounding: Grounding) -> Row:
    source = row.source
    injected = injection_flags(cleaned.text, source["cut"], source["alt"], source["text"])
    unused = [] if grounding.from_alt - grounding.from_dense else ["alt_unused"]
    return {
        **source_columns(row.source),
        **work.provenance(answer),
        **fact_counts(grounding),
        "stage": 1,
        "dense_caption": row.source["text"],
        "caption": cleaned.text,
        "models": [row.source["model"], work.model.name],
        "flags": [*row.source["flags"], *answer_flags(row, answer, cleaned), *injected, *unused],
    }


def _dense_as_caption(work: CaptionChunk, source: Mapping[str, Any], flags: list[str]) -> Row:
    return {
        **source_columns(source),
        **fact_counts(ground(source["text"], source["text"], source["alt"])),
        "key": work.run.key,
        "recipe": recipe_name(work.run.settings.caption.recipe),
        "stage": 1,
        "dense_caption": source["text"],
        "caption": source["text"],
        "models": [source["model"]],
        "flags": [*source["flags"], *flags],
    }
