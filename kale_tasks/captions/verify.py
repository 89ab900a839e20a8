"""The pass `verify`: holds what a text states against its sources.

Rules look for each name and number, always and for nothing. A scorer (`by`) rates how well the sources support each
sentence. A model (`judge`, an earlier pass) names claims that they do not support.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

from kale_tasks.captions.chunk import ChunkRows
from kale_tasks.captions.passes import LocalPass, RowTexts, carried, handed_on
from kale_tasks.captions.rows import Row
from kale_tasks.experts.base import open_scorer
from kale_tasks.recipes.passes import CUT, LIST, RULES_ONLY, UNSUPPORTED, AskPass, VerifyPass
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.recipes.slots import COLUMNS
from kale_tasks.text.cutting import claiming, stating, without
from kale_tasks.text.facts import is_number
from kale_tasks.text.grounding import ground
from kale_tasks.text.sentences import sentences


@dataclass(frozen=True)
class Findings:
    """What was found of a text: its facts, and what no source supports."""

    facts: Set[str]
    unsaid: Set[str]  # facts
    weak: Sequence[int]  # sentences that the scorer rates too low
    claims: Sequence[str]  # named by the judge

    @property
    def count(self) -> int:
        """How much is unsupported."""
        return len(self.unsaid) + len(self.weak) + len(self.claims)

    def data(self) -> str:
        """The counts that are kept with the text."""
        found = {"facts": len(self.facts), "supported": len(self.facts - self.unsaid)}
        found |= {"weak": len(self.weak)} if self.weak else {}
        found |= {"claims": len(self.claims)} if self.claims else {}
        return json.dumps(found)


class VerifyStep(LocalPass):
    """Writes a text as it is, without its unsupported sentences, or another text; or lists what is unsupported."""

    def __init__(self, recipe: Recipe, name: str) -> None:
        super().__init__(recipe, name)
        self._pass = cast(VerifyPass, self.one)
        self._scorer = None if self._pass.by == RULES_ONLY else open_scorer(self._pass.by, self._pass.options)
        self._least_words = _least_words(recipe, self._pass.verify)
        # Without a description of the image among the sources, numbers may have been read off it: only names count.
        self._counts = any(_describes(recipe, source) for source in self._pass.against)

    def ready(self) -> AbstractContextManager[None]:
        """Load the scorer, if there is one."""
        return nullcontext() if self._scorer is None else self._scorer.running()

    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Return the texts of each row."""
        made = list[Row]()
        for row in rows:
            texts = row.texts[self._pass.verify]
            dropped["nothing_to_verify"] += not texts
            for text in texts:
                found = self._find(row, text["text"], judged=text["n"] == 0)
                if self._pass.otherwise == LIST:
                    made += self._listed(work, row, text, found)
                    dropped["supported"] += not found.count
                    continue
                verified, found, more = self._verified(row, text, found)
                more |= {"item": text["item"], "n": text["n"], "score": text["score"], "data": found.data()}
                made.append(self.text_row(work.run.key, row.uid, verified, **more))
        return made

    def _verified(self, row: RowTexts, text: Row, found: Findings) -> tuple[str, Findings, Row]:
        of, flags = self._pass, text["flags"]
        if of.allowed is None or found.count <= of.allowed:
            return text["text"], found, carried(text)
        if of.otherwise == CUT and (shorter := self._cut(text["text"], found)):
            return shorter, self._find(row, shorter), {**carried(text), "flags": [*flags, "cleaned_ungrounded"]}
        name = next((name for name in (of.otherwise, *of.against) if row.texts.get(name)), None)
        if name is None:
            return text["text"], found, {**carried(text), "flags": [*flags, "ungrounded"]}
        other, orders = row.texts[name][0], [flag for flag in flags if flag.endswith("_orders")]
        more = {"models": other["models"], "flags": [*dict.fromkeys([*orders, *handed_on(other)]), f"fallback_{name}"]}
        return other["text"], self._find(row, other["text"], judged=False), more

    def _cut(self, text: str, found: Findings) -> str:
        claimed = claiming(text, found.claims)
        if claimed is None:
            return ""
        naming = [at for at, one in enumerate(sentences(text)) if _words_of(one, self._pass.words) & found.unsaid]
        return without(text, [*stating(text, found.unsaid), *naming, *found.weak, *claimed], self._least_words)

    def _listed(self, work: ChunkRows, row: RowTexts, text: Row, found: Findings) -> Iterator[Row]:
        """What is unsupported, one text each."""
        named = [*sorted(found.unsaid), *found.claims, *(sentences(text["text"])[at].strip() for at in found.weak)]
        for number, one in enumerate(named):
            more = {"models": text["models"], "item": f"{number:02d}", "n": text["n"], "flags": handed_on(text)}
            yield self.text_row(work.run.key, row.uid, one, **more)

    def _find(self, row: RowTexts, text: str, *, judged: bool = False) -> Findings:
        sources = row.sources(self._pass.against)
        found = ground(text, *sources)
        facts, unsaid = (found.facts, found.invented) if self._pass.facts else (frozenset[str](), frozenset[str]())
        if not self._counts:
            unsaid = {fact for fact in unsaid if not is_number(fact)}
        named = _words_of(text, self._pass.words)
        missing = named - _words_of("\n".join(sources), self._pass.words)
        return Findings(facts | named, unsaid | missing, self._weak(row, text), self._claims(row) if judged else ())

    def _claims(self, row: RowTexts) -> list[str]:
        answers = row.texts.get(self._pass.judge or "", [])
        named = json.loads(answers[0]["data"] or "{}").get(UNSUPPORTED, []) if answers else []
        return [str(claim) for claim in (named if isinstance(named, list) else [named]) if str(claim).strip()]

    def _weak(self, row: RowTexts, text: str) -> list[int]:
        if self._scorer is None or self._pass.least is None:
            return []
        whole = [source for source in row.sources(self._pass.against) if source]
        sources = [*whole, *(one.strip() for source in whole for one in sentences(source))]
        stated = [sentence.strip() for sentence in sentences(text)]
        scores = iter(self._scorer.scores([(source, sentence) for sentence in stated for source in sources]))
        best = [max((next(scores) for _ in sources), default=0.0) for _ in stated]
        return [at for at, score in enumerate(best) if score < self._pass.least]


def _least_words(recipe: Recipe, name: str) -> int:
    """The fewest words that a text may have: what the pass that wrote it accepts."""
    one = recipe.find(name)
    if isinstance(one, AskPass):
        return one.clean.min_words
    return max((_least_words(recipe, read) for read in one.reads() if read not in COLUMNS), default=0)


def _words_of(text: str, words: Sequence[str]) -> Set[str]:
    """Which of some words a text has, in the singular or the plural."""
    lower = text.lower()
    return {word for word in words if re.search(rf"\b{re.escape(word.lower())}(?:e?s)?\b", lower)}


def _describes(recipe: Recipe, name: str) -> bool:
    return name not in COLUMNS and any(
        isinstance(one, AskPass) and one.describes for one in map(recipe.find, recipe.sources(name) - COLUMNS.keys())
    )
