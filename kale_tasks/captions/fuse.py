"""The desk of `fuse`: dense captions and alt-texts in, captions of stage 1 out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kale_tasks.captions.clean import Cleaned
from kale_tasks.captions.handler import Desk, by_uid, counted, flags_of, sources, spent
from kale_tasks.captions.stream import Draft, Item, Refused, Row, Verdict
from kale_tasks.contract.step import Chunk
from kale_tasks.engines.base import Answer, Model
from kale_tasks.recipes.recipe import recipe_name
from kale_tasks.runner.run import Run
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.grounding import Grounding, ground
from kale_tasks.text.sentences import sentences


class FuseDesk(Desk):
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
        images = by_uid(self.images.between(uids[0], uids[-1], ["uid", "sha256"]).to_pylist()) if uids else {}
        whole = [row for row in rows if row["uid"] in pairs and row["uid"] in images]
        items = [self._item({**images[row["uid"]], **pairs[row["uid"]], **row}) for row in whole]
        return Draft(number, len(rows), items, Counter({"no_pair": len(rows) - len(whole)}))

    def _item(self, known: Row) -> Item:
        alt = prepare_alt(known["alt_text"])
        about = {**known, "alt": alt.text, "flags": alt.instruction_flags}
        if not self._fuses:
            return Item(known["uid"], outcome=self._plain(about, []))
        if alt.noise:
            return Item(known["uid"], outcome=self._plain(about, alt.noise_flags))
        return Item(
            known["uid"], self.task.prompt.messages(alt=alt.text, dense=known["text"], image=False), about=about
        )

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
            **sources(about),
            **self.made_by(),
            **spent(answer),
            **counted(grounding),
            "stage": 1,
            "dense_caption": about["text"],
            "caption": cleaned.text,
            "models": [about["model"], self.model.name],
            "flags": [*about["flags"], *flags_of(item, answer, cleaned), *unused],
        }

    def _plain(self, about: Mapping[str, Any], flags: list[str]) -> Row:
        """The dense caption as the caption."""
        return {
            **sources(about),
            **counted(ground(about["text"], about["text"], about["alt"])),
            "key": self.run.key,
            "recipe": recipe_name(self.run.settings.caption.recipe),
            "stage": 1,
            "dense_caption": about["text"],
            "caption": about["text"],
            "models": [about["model"]],
            "flags": [*about["flags"], *flags],
        }


def _without(text: str, invented: Iterable[str]) -> str:
    """The sentences that state none of these facts."""
    facts = list(invented)
    return "".join(s for s in sentences(text) if not any(fact in s for fact in facts)).strip()
