"""One chunk of a captioning run: reads its rows, and fills the columns that all captioning steps have in common."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from kale_tasks.captions.clean import Cleaned, Cleaner
from kale_tasks.captions.rows import CaptionResult, NoCaption, PendingRow, Row
from kale_tasks.contract.step import part_span
from kale_tasks.contract.types import Chunk
from kale_tasks.engines.base import IMAGE_BROKEN, Answer, Model, describe
from kale_tasks.imaging import BrokenImage, fit
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.runner.run import Run
from kale_tasks.text.alttext import injected_words, words_of
from kale_tasks.text.facts import is_number
from kale_tasks.text.grounding import Grounding

_IMAGE = ["uid", "status", "split", "shard", "offset", "length", "sha256"]
_PAIR = [name for name in ("uid", "url", "alt_text", "context") if name in TABLES["pairs"].arrow.names]


class ChunkRows:
    """Reads the inputs of a chunk. They are opened when they are first read."""

    def __init__(self, run: Run, chunk: Chunk) -> None:
        self.run, self._chunk = run, chunk

    @property
    def name(self) -> str:
        """The name of the chunk in its run."""
        return f"chunk-{self._chunk.index:05d}"

    @cached_property
    def images(self) -> Snapshot:
        """The committed images of the key."""
        return self.run.rows("images")

    @cached_property
    def pairs(self) -> Snapshot:
        """The committed pairs of the key."""
        return self.run.rows("pairs")

    def span(self, number: int) -> tuple[int, int]:
        """Return the first row of a part and the row after its last."""
        return part_span(self.run.settings, self._chunk, number)

    def pairs_of(self, uids: Sequence[str]) -> dict[str, Row]:
        """Read the pairs with these uids, which must be in order."""
        return by_uid(self.pairs.between(uids[0], uids[-1], _PAIR).to_pylist()) if uids else {}

    def image_rows(self, number: int, splits: Mapping[str, str], other: str) -> tuple[int, Counter[str], list[Row]]:
        """Read the image rows of a part and drop those that this step does not caption.

        `splits` maps the name of a split to the rule that drops its rows, or to an empty string to keep them; `other`
        is the rule for every other split. Returns the number of rows read, the dropped rows by rule, and the rows kept.
        """
        rows = self.images.read(*self.span(number), _IMAGE).to_pylist()
        rules = ["image_failed" if row["status"] != "ok" else splits.get(row["split"], other) for row in rows]
        dropped = Counter(rule for rule in rules if rule)
        return len(rows), dropped, [row for row, rule in zip(rows, rules, strict=True) if not rule]

    def image_bytes(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """Read the stored images of rows."""
        return iter(read_images(self.run.lake, [Span(row["shard"], row["offset"], row["length"]) for row in rows]))


class CaptionChunk(ChunkRows):
    """What a step that asks a model needs to know about its chunk: run, recipe, model and inputs."""

    def __init__(self, run: Run, chunk: Chunk, recipe: Recipe, model: Model) -> None:
        super().__init__(run, chunk)
        self.recipe, self.model = recipe, model
        self._cleaner = Cleaner(self.task.clean, self.task.prompt)

    @property
    def task(self) -> Task:
        """The model call of the recipe that this step makes."""
        return self.model.task

    def with_images(self, rows: Sequence[Row], pending: Callable[[Row, bytes], PendingRow]) -> list[PendingRow]:
        """Load the image of each row, scale it down, and make a pending row of both; broken images are quarantined."""
        return [self._with_image(row, image, pending) for row, image in zip(rows, self.image_bytes(rows), strict=True)]

    def _with_image(self, row: Row, data: bytes, pending: Callable[[Row, bytes], PendingRow]) -> PendingRow:
        try:
            return pending(row, fit(data, self.task.image_side))
        except BrokenImage as error:
            return PendingRow(row["uid"], outcome=NoCaption(IMAGE_BROKEN, str(error)))

    def clean(self, answer: Answer) -> Cleaned:
        """Apply the recipe's cleaning rules to an answer."""
        return self._cleaner.clean(answer.text, answer.finish)

    @cached_property
    def _made_by(self) -> Row:
        return {"engine": describe(self.run.settings.caption, self.task), "prompt_hash": self.task.prompt.hash}

    def provenance(self, answer: Answer) -> Row:
        """Fill the columns that tell how a row was made from an answer."""
        return {
            **self._made_by,
            "tokens_in": answer.tokens_in,
            "tokens_out": answer.tokens_out,
            "finish_reason": answer.finish,
            "confidence": answer.confidence,
        }


def by_uid(rows: Iterable[Row]) -> dict[str, Row]:
    """Index rows by uid."""
    return {row["uid"]: row for row in rows}


def source_columns(source: Mapping[str, Any]) -> Row:
    """Fill the columns of a caption that identify its pair."""
    return {name: source[name] for name in ("uid", "url", "sha256", "alt_text")}


def fact_counts(found: Grounding, *, dense: bool, alt: bool) -> Row:
    """Fill the columns that count the facts of a caption, which was compared with a description, an alt-text, or both.

    Without a description, a number may have been read off the image: only names count as invented.
    """
    invented = found.invented if dense else {fact for fact in found.invented if not is_number(fact)}
    return {
        "facts": len(found.facts),
        "facts_from_alt": len(found.from_alt) if alt else None,
        "facts_from_dense": len(found.from_dense) if dense else None,
        "facts_invented": len(invented) if alt or dense else None,
    }


def answer_flags(row: PendingRow, answer: Answer, cleaned: Cleaned) -> list[str]:
    """Return the flags of a caption: whether it was truncated or asked for again, and the rules that changed it."""
    return [
        *(["truncated"] if answer.finish == "length" else []),
        *(["retried"] if row.retries else []),
        *(f"cleaned_{rule}" for rule in cleaned.fired),
    ]


def injection_flags(caption: str, cut: str, *sources: str) -> list[str]:
    """Return the flag of a caption with a word that only the instructions cut off its sources have."""
    words = injected_words(cut, *sources) if cut else set()
    return ["injected"] if words & words_of(caption) else []


def result_of(outcome: Row | NoCaption, answer: Answer, cleaned: Cleaned) -> CaptionResult:
    """Combine an outcome with a record of what the cleaning rules did."""
    rules = (*cleaned.fired, *([cleaned.refused] if cleaned.refused else []))
    return CaptionResult(outcome, rules, answer.text, cleaned.text)
