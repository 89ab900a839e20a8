"""The pass `ask`: candidates, conversations and items of each row go through one engine."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from kale_tasks.captions.chunk import CaptionChunk, answer_flags, injection_flags, result_of
from kale_tasks.captions.passes import PassStep, RowTexts
from kale_tasks.captions.rows import CaptionResult, NextTurn, NoCaption, PendingPart, PendingRow, Row
from kale_tasks.captions.sizes import check_stored_size
from kale_tasks.captions.stream import CaptionStream, RowHandler
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.engines.base import ENGINES, IMAGE_BROKEN, Answer, Model
from kale_tasks.imaging import BrokenImage, decode_rgb, fit
from kale_tasks.lake.parts import PartMeta
from kale_tasks.models.locate import locate, pinned
from kale_tasks.recipes.conditions import holds
from kale_tasks.recipes.passes import AskPass
from kale_tasks.runner.run import Run
from kale_tasks.text.cutting import count_words
from kale_tasks.text.grounding import invented


class AskStep(RowHandler, PassStep):
    """Asks a model about each row, or about each item of a row."""

    table = "texts"

    @property
    def ask(self) -> AskPass:
        """The pass."""
        return cast(AskPass, self.one)

    def chunks(self, run: Run) -> Sequence[Chunk]:
        ENGINES.reference(run.settings.caption.engine)  # an unknown engine must fail the plan, not the first chunk
        if self.ask.image:
            check_stored_size(run.settings, self.recipe.task(self.ask.name), f"The pass '{self.ask.name}'")
        return super().chunks(run)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        task, of = self.recipe.task(self.ask.name), run.settings.caption
        model = Model(pinned(task.model), task, lambda: locate(task.model), of.endpoints.models.get(self.ask.ask, ()))
        work = CaptionChunk(run, chunk, self.recipe, model)
        yield from CaptionStream(work, self.engine(of, model), self).parts(numbers)

    def read_part(self, work: CaptionChunk, number: int) -> PendingPart:
        """Read the rows of a part and make a request for each candidate of each item."""
        dropped, rows = self.rows(work, number)
        asked: list[RowTexts] = []
        decided: list[PendingRow] = []
        for row in rows:
            if self.ask.when and not holds(self.ask.when, row.values):
                decided += self._unasked(work, row, dropped)
            else:
                asked.append(row)
        images = work.image_bytes([row.image for row in asked]) if self.ask.image else iter([b""] * len(asked))
        pending = [
            one for row, data in zip(asked, images, strict=True) for one in self._units(work, row, data, dropped)
        ]
        found = sorted([*decided, *pending], key=lambda one: one.uid)
        return PendingPart(number, len(found) + dropped.total(), found, dropped)

    def make_row(self, work: CaptionChunk, row: PendingRow, answer: Answer) -> CaptionResult:
        """Make a text from an answer, or the next turn of the conversation."""
        if row.turn + 1 < self.ask.rounds:
            said = [{"role": "assistant", "content": answer.text}, {"role": "user", "content": self.ask.follow}]
            return CaptionResult(NextTurn([*row.messages, *said]))
        if self.ask.parse:
            return self._parsed(work, row, answer)
        cleaned = work.clean(answer)
        if cleaned.refused:
            return result_of(NoCaption(cleaned.refused, fallback=row.source["fallback"]), answer, cleaned)
        if self.ask.within and not _fits(cleaned.text, row.source["words"], self.ask.within):
            return result_of(NoCaption("length", fallback=row.source["fallback"]), answer, cleaned)
        flags = [*answer_flags(row, answer, cleaned), *injection_flags(cleaned.text, *row.source["injection"])]
        flags = list(dict.fromkeys([*row.source["flags"], *flags]))
        made = self._text(work, row, answer, cleaned.text, flags=flags)
        if self.ask.against and invented(cleaned.text, *row.source["sources"]):
            return result_of(NoCaption("ungrounded", fallback=made), answer, cleaned)
        return result_of(made, answer, cleaned)

    def _parsed(self, work: CaptionChunk, row: PendingRow, answer: Answer) -> CaptionResult:
        bare = answer.text.strip().removeprefix("```json").strip("`\n ")
        try:
            found = json.loads(bare)
            if not isinstance(found, dict) or (missing := set(self.ask.parse) - found.keys()):
                raise ValueError(f"lacks {', '.join(sorted(missing)) if isinstance(found, dict) else 'an object'}")
        except ValueError as error:
            return CaptionResult(NoCaption("not_json", str(error), fallback=row.source["fallback"]))
        text = ", ".join(filter(None, (_written(found[name]) for name in self.ask.parse)))
        data = json.dumps(found, ensure_ascii=False, sort_keys=True)
        return CaptionResult(self._text(work, row, answer, text, data=data, flags=row.source["flags"]))

    def _text(self, work: CaptionChunk, row: PendingRow, answer: Answer, text: str, **more: Any) -> Row:
        known = {"item": row.source["item"], "n": row.candidate, "models": [*row.source["models"], work.model.name]}
        return self.text_row(work.run.key, row.uid, text, **known, **work.provenance(answer), **more)

    def _unasked(self, work: CaptionChunk, row: RowTexts, dropped: Counter[str]) -> list[PendingRow]:
        fallback = self._fallback(work, row, [*row.order_flags(self._reads), *row.alt.noise_flags])
        if fallback is None:
            dropped["condition"] += 1
            return []
        return [PendingRow(row.uid, outcome=fallback)]

    def _fallback(self, work: CaptionChunk, row: RowTexts, flags: Sequence[str]) -> Row | None:
        """Make a text of that of the pass `otherwise`; None if there is none."""
        texts = row.texts.get(self.ask.otherwise or "", [])
        if not texts:
            return None
        return self.text_row(work.run.key, row.uid, texts[0]["text"], models=texts[0]["models"], flags=list(flags))

    def _units(self, work: CaptionChunk, row: RowTexts, data: bytes, dropped: Counter[str]) -> Iterator[PendingRow]:
        items: Sequence[Row] = row.texts[self.ask.for_each] if self.ask.for_each else [{"item": "", "text": ""}]
        if missing := [name for name in self._needed if not row.texts.get(name)]:
            dropped[f"no_{missing[0]}"] += 1
            return
        for item in items:
            try:
                image = self._image(work, data, item) if self.ask.image else None
            except BrokenImage as error:
                yield PendingRow(row.uid, outcome=NoCaption(IMAGE_BROKEN, str(error)))
                continue
            values = {**row.values, **self._varied(row.uid), "item": item["text"]}
            messages = work.task.prompt.messages(values, image=image is not None)
            for candidate in range(self.ask.n):
                source = self._source(work, row, item)
                yield PendingRow(row.uid, messages, image, source, candidate=candidate)

    @cached_property
    def _needed(self) -> list[str]:
        """The passes without whose texts there is nothing to ask about."""
        of_each = {self.ask.for_each}
        return [n for n in self._ids if n in of_each or (n in self._shown and not self.recipe.may_be_empty(n))]

    def _source(self, work: CaptionChunk, row: RowTexts, item: Row) -> Mapping[str, Any]:
        flags = row.order_flags(self._reads)
        known = [row.first(name) for name in self._ids if name != self.ask.among]
        fallback = self._fallback(work, row, [*flags, f"fallback_{self.ask.otherwise}"])
        texts = [text for name in self._shown for text in row.texts[name]]
        return {
            "item": item["item"], "flags": flags, "injection": (row.cut(self._reads), row.alt.text, *known),
            "fallback": fallback, "models": list(dict.fromkeys(model for text in texts for model in text["models"])),
            "sources": row.sources(self.ask.against),
            **({"words": int(self._varied(row.uid)["words"])} if self.ask.within else {}),
        }  # fmt: skip

    @cached_property
    def _shown(self) -> list[str]:
        """The passes whose texts are in the prompt."""
        reads = self.ask.prompt.reads
        return [name for name in self._ids if name in reads]

    def _varied(self, uid: str) -> dict[str, str]:
        return {name: str(choices[_number(f"{name} {uid}") % len(choices)]) for name, choices in self.ask.vary.items()}

    def _image(self, work: CaptionChunk, data: bytes, item: Row) -> bytes:
        return fit(_cropped(data, item) if self.ask.image == "crop" else data, work.task.image_side)


def _fits(text: str, words: int, within: float) -> bool:
    """Whether a text has about as many words as were asked for."""
    return abs(count_words(text) - words) <= within * words


def _written(value: Any) -> str:
    """A value of a JSON answer as a text: the entries of a list one after the other, of an object its `text`."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_written, value)))
    return str(value.get("text", "")) if isinstance(value, dict) else str(value)


def _cropped(data: bytes, item: Row) -> bytes:
    """Cut the box of an item, in shares of width and height, out of an image."""
    box = json.loads(item.get("data") or "{}").get("box")
    if not box:
        raise BrokenImage(f"the item '{item['item']}' has no box")
    image = decode_rgb(data)
    left, top, right, bottom = (int(share * side) for share, side in zip(box, image.size * 2, strict=True))
    part = image.crop((left, top, max(left + 1, right), max(top + 1, bottom)))
    sink = io.BytesIO()
    part.save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
