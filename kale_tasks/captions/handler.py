"""What the desks of the three steps share: their rows, and the columns that say how a row was made."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from kale_tasks.captions.clean import Cleaned, Cleaner
from kale_tasks.captions.stream import Item, Refused, Row, Verdict
from kale_tasks.contract.step import Chunk, part_span
from kale_tasks.engines.base import IMAGE_BROKEN, Answer, Model, describe
from kale_tasks.imaging import BrokenImage, fit
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.snapshot import Rows
from kale_tasks.recipes.recipe import recipe_name
from kale_tasks.runner.run import Run
from kale_tasks.text.grounding import Grounding

_IMAGE = ["uid", "status", "split", "shard", "offset", "length", "sha256"]
_PAIR = ["uid", "url", "alt_text"]


class Desk:
    """What all desks share."""

    table = "captions"

    def __init__(self, run: Run, chunk: Chunk, model: Model) -> None:
        self.run, self.chunk, self.model, self.task = run, chunk, model, model.task
        self.sampling, self.retries = self.task.sampling, self.task.retries
        self._cleaner = Cleaner(self.task.clean, self.task.prompt)

    @cached_property
    def images(self) -> Rows:
        """The committed images of the key."""
        return self.run.rows("images")

    @cached_property
    def pairs(self) -> Rows:
        """The committed pairs of the key."""
        return self.run.rows("pairs")

    def span(self, number: int) -> tuple[int, int]:
        """The rows of a part."""
        return part_span(self.run.settings, self.chunk, number)

    def pairs_of(self, uids: Sequence[str]) -> dict[str, Row]:
        """The pairs of some rows in uid order."""
        return by_uid(self.pairs.between(uids[0], uids[-1], _PAIR).to_pylist()) if uids else {}

    def made_by(self) -> Row:
        """The columns that say how a row was made."""
        return {
            "key": self.run.key,
            "recipe": recipe_name(self.run.settings.caption.recipe),
            "engine": describe(self.run.settings.caption, self.task),
            "prompt_hash": self.task.prompt.hash,
        }

    def cleaned(self, answer: Answer) -> Cleaned:
        """An answer after the cleaning rules."""
        return self._cleaner.clean(answer.text, answer.finish)

    def verdict(self, outcome: Row | Refused, answer: Answer, cleaned: Cleaned) -> Verdict:
        """An outcome with what the cleaning did."""
        fired = (*cleaned.fired, *([cleaned.refused] if cleaned.refused else []))
        return Verdict(outcome, fired, answer.text, cleaned.text)

    def picture_items(self, rows: Sequence[Row], ask: Any) -> list[Item]:
        """An item for each image; one that is broken is decided already."""
        data = read_images(self.run.lake, [Span(row["shard"], row["offset"], row["length"]) for row in rows])
        return [self._picture_item(row, image, ask) for row, image in zip(rows, data, strict=True)]

    def _picture_item(self, row: Row, data: bytes, ask: Any) -> Item:
        try:
            return ask(row, fit(data, self.task.image_side))  # type: ignore[no-any-return]
        except BrokenImage as error:
            return Item(row["uid"], outcome=Refused(IMAGE_BROKEN, str(error)))


def image_rows(desk: Desk, number: int, splits: dict[str, str], other: str) -> tuple[int, Counter[str], list[Row]]:
    """How many image rows a part has, those dropped by rule, and those to be captioned."""
    rows = desk.images.read(*desk.span(number), _IMAGE).to_pylist()
    rules = ["image_failed" if row["status"] != "ok" else splits.get(row["split"], other) for row in rows]
    dropped = Counter(rule for rule in rules if rule)
    return len(rows), dropped, [row for row, rule in zip(rows, rules, strict=True) if not rule]


def by_uid(rows: Iterable[Row]) -> dict[str, Row]:
    """Rows by their uid."""
    return {row["uid"]: row for row in rows}


def sources(about: Mapping[str, Any]) -> Row:
    """The columns of a caption that say what it is of."""
    return {name: about[name] for name in ("uid", "url", "sha256", "alt_text")}


def spent(answer: Answer) -> Row:
    """The columns that say what an answer took."""
    return {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "finish_reason": answer.finish}


def counted(grounding: Grounding) -> Row:
    """The columns that count the facts of a caption."""
    return {
        "facts": len(grounding.facts),
        "facts_from_alt": len(grounding.from_alt),
        "facts_from_dense": len(grounding.from_dense),
        "facts_invented": len(grounding.invented),
    }


def flags_of(item: Item, answer: Answer, cleaned: Cleaned) -> list[str]:
    """What was noticed on the way from an answer to a row."""
    return [
        *(["truncated"] if answer.finish == "length" else []),
        *(["retried"] if item.tries else []),
        *(f"cleaned_{rule}" for rule in cleaned.fired),
    ]
