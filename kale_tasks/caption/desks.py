"""What the three steps ask of a model, and what they make of its answers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from kale_tasks.caption.alttext import noise, without_orders
from kale_tasks.caption.clean import Cleaned, Cleaner
from kale_tasks.caption.engine import IMAGE_BROKEN, Answer, Model, describe
from kale_tasks.caption.facts import is_number
from kale_tasks.caption.grounding import Grounding, ground
from kale_tasks.caption.picture import BrokenImage, fit
from kale_tasks.caption.sentences import sentences
from kale_tasks.caption.stream import Draft, Item, Refused, Row, Verdict
from kale_tasks.lake.rows import Rows
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.recipe import recipe_name
from kale_tasks.run import Run
from kale_tasks.step import Chunk, part_span

_IMAGE = ["uid", "status", "split", "shard", "offset", "length", "sha256"]
_PAIR = ["uid", "url", "alt_text"]


class _Desk:
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
        return _by_uid(self.pairs.between(uids[0], uids[-1], _PAIR).to_pylist()) if uids else {}

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


class DenseDesk(_Desk):
    """Images of stage 1 in, descriptions out."""

    table = "dense"

    def draft(self, number: int) -> Draft:
        """Read a part's images; what is not of stage 1 is dropped."""
        read, dropped, rows = _images(self, number, {"stage1": ""}, "not_stage1")
        pairs = self.pairs_of([row["uid"] for row in rows]) if self.task.prompt.wants_alt else {}

        def ask(row: Row, image: bytes) -> Item:
            alt = without_orders((pairs.get(row["uid"]) or {}).get("alt_text") or "")
            return Item(row["uid"], self.task.prompt.messages(alt=alt, image=True), image)

        return Draft(number, read, self.picture_items(rows, ask), dropped)

    def judge(self, item: Item, answer: Answer) -> Verdict:
        """A row of `dense`, unless the cleaning left nothing."""
        cleaned = self.cleaned(answer)
        if cleaned.refused:
            return self.verdict(Refused(cleaned.refused), answer, cleaned)
        row = {
            **self.made_by(),
            **_spent(answer),
            "uid": item.uid,
            "text": cleaned.text,
            "model": self.model.name,
            "flags": _flags(item, answer, cleaned),
        }
        return self.verdict(row, answer, cleaned)


class FuseDesk(_Desk):
    """Dense captions and alt-texts in, captions of stage 1 out."""

    def __init__(self, run: Run, chunk: Chunk, model: Model, *, fuses: bool) -> None:
        super().__init__(run, chunk, model)
        self._fuses = fuses
        self._dense = run.rows("dense")

    def draft(self, number: int) -> Draft:
        """Read a part's dense captions with their alt-texts; those with nothing to fuse are captions already."""
        rows = self._dense.read(*self.span(number), ["uid", "text", "model"]).to_pylist()
        uids = [row["uid"] for row in rows]
        pairs = self.pairs_of(uids)
        images = _by_uid(self.images.between(uids[0], uids[-1], ["uid", "sha256"]).to_pylist()) if uids else {}
        whole = [row for row in rows if row["uid"] in pairs and row["uid"] in images]
        items = [self._item({**images[row["uid"]], **pairs[row["uid"]], **row}) for row in whole]
        return Draft(number, len(rows), items, Counter({"no_pair": len(rows) - len(whole)}))

    def _item(self, known: Row) -> Item:
        raw = known["alt_text"] or ""
        alt = without_orders(raw)
        flags = ["alt_orders"] if alt != raw else []
        about = {**known, "alt": alt, "flags": flags}
        if not self._fuses:
            return Item(known["uid"], outcome=self._plain(about, []))
        if why := noise(alt):
            return Item(known["uid"], outcome=self._plain(about, ["alt_noise", f"alt_{why}"]))
        return Item(known["uid"], self.task.prompt.messages(alt=alt, dense=known["text"], image=False), about=about)

    def judge(self, item: Item, answer: Answer) -> Verdict:
        """A caption whose facts its sources know, as far as the recipe asks for that; else the dense caption."""
        about, cleaned, rule = item.about, self.cleaned(answer), self.task.grounding
        fallback = self._plain(about, ["fallback_dense"])
        if cleaned.refused:
            return self.verdict(Refused(cleaned.refused, instead=fallback), answer, cleaned)
        grounding = ground(cleaned.text, about["text"], about["alt"])
        row = self._fused(item, answer, cleaned, grounding)
        if rule.allowed is None or len(grounding.invented) <= rule.allowed:
            return self.verdict(row, answer, cleaned)
        if rule.otherwise == "cut" and (shorter := _without(cleaned.text, grounding.invented)):
            shortened = Cleaned(shorter, (*cleaned.fired, "ungrounded"))
            fallback = self._fused(item, answer, shortened, ground(shorter, about["text"], about["alt"]))
        return self.verdict(Refused("ungrounded", instead=fallback), answer, cleaned)

    def _fused(self, item: Item, answer: Answer, cleaned: Cleaned, grounding: Grounding) -> Row:
        about = item.about
        unused = [] if grounding.from_alt - grounding.from_dense else ["alt_unused"]
        return {
            **_sources(about),
            **self.made_by(),
            **_spent(answer),
            **_counted(grounding),
            "stage": 1,
            "dense_caption": about["text"],
            "caption": cleaned.text,
            "models": [about["model"], self.model.name],
            "flags": [*about["flags"], *_flags(item, answer, cleaned), *unused],
        }

    def _plain(self, about: Row | Any, flags: list[str]) -> Row:
        """The dense caption as the caption."""
        return {
            **_sources(about),
            **_counted(ground(about["text"], about["text"], about["alt"])),
            "key": self.run.key,
            "recipe": recipe_name(self.run.settings.caption.recipe),
            "stage": 1,
            "dense_caption": about["text"],
            "caption": about["text"],
            "models": [about["model"]],
            "flags": [*about["flags"], *flags],
        }


class StudentDesk(_Desk):
    """Images of stage 2 and their alt-texts in, captions of stage 2 out."""

    def draft(self, number: int) -> Draft:
        """Read a part's images with their alt-texts; those of stage 1 and the holdout are dropped."""
        read, dropped, rows = _images(self, number, {"stage2": "", "holdout": "holdout"}, "not_stage2")
        pairs = self.pairs_of([row["uid"] for row in rows])
        whole = [row for row in rows if row["uid"] in pairs]
        dropped["no_pair"] = len(rows) - len(whole)

        def ask(row: Row, image: bytes) -> Item:
            raw = pairs[row["uid"]]["alt_text"] or ""
            alt = without_orders(raw)
            why = noise(alt)
            flags = [*(["alt_orders"] if alt != raw else []), *(["alt_noise", f"alt_{why}"] if why else [])]
            about = {**row, **pairs[row["uid"]], "alt": "" if why else alt, "flags": flags}
            return Item(row["uid"], self.task.prompt.messages(alt=about["alt"], image=True), image, about)

        return Draft(number, read, self.picture_items(whole, ask), dropped)

    def judge(self, item: Item, answer: Answer) -> Verdict:
        """A caption of stage 2, unless the cleaning left nothing."""
        about, cleaned = item.about, self.cleaned(answer)
        if cleaned.refused:
            return self.verdict(Refused(cleaned.refused), answer, cleaned)
        grounding = ground(cleaned.text, "", about["alt"])
        # Without a dense caption, a number may as well have been read off the picture: only names count as invented.
        invented = sum(not is_number(fact) for fact in grounding.invented)
        row = {
            **_sources(about),
            **self.made_by(),
            **_spent(answer),
            **_counted(grounding),
            "stage": 2,
            "facts_from_dense": None,
            "facts_invented": invented,
            "caption": cleaned.text,
            "models": [self.model.name],
            "flags": [*about["flags"], *_flags(item, answer, cleaned)],
        }
        return self.verdict(row, answer, cleaned)


def _images(desk: _Desk, number: int, splits: dict[str, str], other: str) -> tuple[int, Counter[str], list[Row]]:
    """How many image rows a part has, those dropped by rule, and those to be captioned."""
    rows = desk.images.read(*desk.span(number), _IMAGE).to_pylist()
    rules = ["image_failed" if row["status"] != "ok" else splits.get(row["split"], other) for row in rows]
    dropped = Counter(rule for rule in rules if rule)
    return len(rows), dropped, [row for row, rule in zip(rows, rules, strict=True) if not rule]


def _by_uid(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["uid"]: row for row in rows}


def _sources(about: Row | Any) -> Row:
    return {name: about[name] for name in ("uid", "url", "sha256", "alt_text")}


def _spent(answer: Answer) -> Row:
    return {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "finish_reason": answer.finish}


def _counted(grounding: Grounding) -> Row:
    return {
        "facts": len(grounding.facts),
        "facts_from_alt": len(grounding.from_alt),
        "facts_from_dense": len(grounding.from_dense),
        "facts_invented": len(grounding.invented),
    }


def _flags(item: Item, answer: Answer, cleaned: Cleaned) -> list[str]:
    return [
        *(["truncated"] if answer.finish == "length" else []),
        *(["retried"] if item.tries else []),
        *(f"cleaned_{rule}" for rule in cleaned.fired),
    ]


def _without(text: str, invented: Iterable[str]) -> str:
    """The sentences that state none of these facts."""
    facts = list(invented)
    return "".join(s for s in sentences(text) if not any(fact in s for fact in facts)).strip()
