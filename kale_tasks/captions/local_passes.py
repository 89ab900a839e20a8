"""The passes that ask no engine: `expert`, `score` and `pick`; and the step of any pass."""

import hashlib
import json
import re
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from kale_tasks.captions.ask import AskStep
from kale_tasks.captions.chunk import ChunkRows
from kale_tasks.captions.embed import EmbedStep
from kale_tasks.captions.passes import LocalPass, PassStep, RowTexts, carried
from kale_tasks.captions.rows import Row
from kale_tasks.captions.select import SelectStep
from kale_tasks.captions.verify import VerifyStep
from kale_tasks.experts.base import ExpertRow, open_expert, open_scorer, values_of
from kale_tasks.experts.host import Answers, Host, HostedRow
from kale_tasks.imaging import BrokenImage, decode_rgb
from kale_tasks.recipes.passes import (
    CHOICE,
    AnyPass,
    AskPass,
    EmbedPass,
    ExpertPass,
    PickPass,
    ScorePass,
    SelectPass,
    VerifyPass,
)
from kale_tasks.recipes.recipe import Recipe, load_recipe
from kale_tasks.text.personal import mask_personal

if TYPE_CHECKING:
    from PIL.Image import Image


class ExpertStep(LocalPass):
    """Looks values up, or lets a small model find them; each value is an item of the row."""

    def __init__(self, recipe: Recipe, name: str) -> None:
        super().__init__(recipe, name)
        self._pass = cast(ExpertPass, self.one)
        self._expert = open_expert(self._pass.expert, self._pass.options)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Start the expert: one that reads images in a process of its own."""
        if self._expert.reads_images:
            with Host("expert", self._pass.expert, self._pass.options) as self._host:
                yield
            return
        with self._expert.running():
            yield

    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Return the values that the expert finds, by row."""
        began = time.perf_counter()
        answers = self._ask(work, rows)
        work.run.measure("expert_seconds", time.perf_counter() - began)
        models = [self._expert.model] if self._expert.reads_images else []
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for value in answers.values.to_pylist():
            if (value := self._without_personal_data(value)) is None:
                dropped["pii"] += 1
                continue
            known, data = found[value["uid"]], json.loads(value["data"] or "{}")
            more = {
                "item": f"{len(known):02d}",
                "score": value["score"],
                "flags": data.pop("flags", []),
                "models": models,
            }
            more["data"] = json.dumps(data, ensure_ascii=False) if data else None
            known.append(self.text_row(work.run.key, value["uid"], value["text"], **more))
        dropped.update(answers.failed.values())
        seen = {*answers.values["uid"].to_pylist(), *answers.failed}
        dropped["nothing_found"] += sum(row.uid not in seen for row in rows)
        return [text for row in rows for text in found.get(row.uid, ())]

    def _without_personal_data(self, value: Row) -> Row | None:
        """Return a value as the pass wants it: as it is, masked and flagged, or None if it has personal data."""
        data = json.loads(value["data"] or "{}")
        texts = [value["text"], data.get("read", "")]
        masked = [mask_personal(text) for text in texts]
        if not self._pass.pii or masked == texts:
            return value
        if self._pass.pii == "drop":
            return None
        data |= {"flags": [*data.get("flags", ()), "pii"], **({"read": masked[1]} if "read" in data else {})}
        return {**value, "text": masked[0], "data": json.dumps(data, ensure_ascii=False)}

    def _ask(self, work: ChunkRows, rows: Sequence[RowTexts]) -> Answers:
        if not rows or not self._expert.reads_images:
            seen = [ExpertRow(row.uid, row.alt.text) for row in rows]
            return Answers(values_of(self._expert, seen)) if rows else Answers()
        images = work.image_bytes([row.image for row in rows])
        return self._host.ask([HostedRow(row.uid, row.alt.text, data) for row, data in zip(rows, images, strict=True)])


class ScoreStep(LocalPass):
    """Writes the texts of other passes again, with a score."""

    def __init__(self, recipe: Recipe, name: str) -> None:
        super().__init__(recipe, name)
        self._pass = cast(ScorePass, self.one)
        self._scorer = open_scorer(self._pass.by, self._pass.options)

    def ready(self) -> AbstractContextManager[None]:
        """Load the scorer."""
        return self._scorer.running()

    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Return every text to be rated with its score; `data` has the name of its pass."""
        to_image = self._pass.against == "image"
        against: Sequence[tuple[RowTexts, Any]] = (
            _decoded(work, rows, dropped) if to_image else [(row, row.first(self._pass.against)) for row in rows]
        )
        made, pairs = [], []
        for row, source in against:
            texts = [(name, text) for name in self._pass.score for text in row.of(name)]
            dropped["nothing_to_rate"] += not texts
            for name, text in texts:
                more = {**carried(text), "item": f"{name}/{text['item']}", "n": text["n"]}
                made.append(self.text_row(work.run.key, row.uid, text["text"], data=json.dumps({"of": name}), **more))
                pairs.append((source, text["text"]))
        scores = self._scorer.scores(pairs) if pairs else []
        return [{**row, "score": score} for row, score in zip(made, scores, strict=True)]


class PickStep(LocalPass):
    """Chooses among the texts of other passes."""

    def ready(self) -> Any:
        """Nothing to load."""
        return nullcontext()

    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Return the chosen texts of each row, the best first, or joined."""
        made: list[Row] = []
        for row in rows:
            candidates, chosen = self._candidates(row), self._chosen(row)
            dropped["not_picked"] += max(len(candidates) - len(chosen), 0)
            dropped["nothing_to_pick"] += not (candidates or chosen)
            if self._pass.join is not None and chosen:
                chosen = [_joined(chosen, self._pass.join)]
            for place, text in enumerate(chosen):
                more = {**carried(text), "score": text.get("score"), "data": text.get("data")}
                made.append(self.text_row(work.run.key, row.uid, text["text"], n=place, **more))
        return made

    @property
    def _pass(self) -> PickPass:
        return cast(PickPass, self.one)

    def _candidates(self, row: RowTexts) -> list[Row]:
        of = self._pass
        if of.of is None:
            return [{**text, "data": _named(text, name)} for name in of.pick for text in row.of(name)]
        return [text for text in row.texts[of.of] if json.loads(text["data"])["of"] in of.pick]

    def _chosen(self, row: RowTexts) -> list[Row]:
        of, candidates = self._pass, self._candidates(row)
        if of.mix:
            present = {name: weight for name, weight in of.mix.items() if row.of(name)}
            wanted = _weighted(row.uid, present) if present else ""
            return [text for text in candidates if json.loads(text["data"])["of"] == wanted][:1]
        if of.judge:
            return self._judged(row, candidates) or (row.of(of.otherwise)[:1] if of.otherwise else [])
        if of.of is None:
            return candidates
        ranked = sorted(candidates, key=lambda text: -text["score"])
        if of.bins and ranked:
            best = ranked[0]["score"]
            return [{"text": str(bisect_right(of.bins, best)), "score": best}]
        kept: list[Row] = []
        for text in ranked:
            too_low = of.least is not None and text["score"] < of.least
            alike = of.distinct and any(_shared(text["text"], other["text"]) > of.distinct for other in kept)
            if not (too_low or alike):
                kept.append(text)
        chosen = kept[: of.best]
        return chosen or (row.of(of.otherwise)[:1] if of.otherwise else [])

    def _judged(self, row: RowTexts, candidates: Sequence[Row]) -> list[Row]:
        """The candidate that the judge names by its number, with what else the judge says."""
        for answer in row.texts[self._pass.judge or ""][:1]:
            said = json.loads(answer["data"] or "{}")
            number = re.search(r"\d+", str(said.get(CHOICE, "")))
            if number and 0 < int(number[0]) <= len(candidates):
                text = candidates[int(number[0]) - 1]
                return [{**text, "data": json.dumps({**json.loads(text["data"]), **said}, ensure_ascii=False)}]
        return []


_STEPS: dict[type[AnyPass], type[PassStep]] = {
    AskPass: AskStep, ExpertPass: ExpertStep, EmbedPass: EmbedStep, SelectPass: SelectStep, ScorePass: ScoreStep,
    PickPass: PickStep, VerifyPass: VerifyStep,
}  # fmt: skip


def pass_step(recipe: Recipe | str, name: str) -> PassStep:
    """The step that runs a pass of a recipe."""
    found = load_recipe(recipe) if isinstance(recipe, str) else recipe
    one = found.find(name)
    return next(step for kind, step in _STEPS.items() if isinstance(one, kind))(found, name)


def _decoded(work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[tuple[RowTexts, "Image"]]:
    """Return the rows with their images; rows whose image cannot be decoded are dropped."""
    found = []
    for row, data in zip(rows, work.image_bytes([row.image for row in rows]), strict=True):
        try:
            found.append((row, decode_rgb(data)))
        except BrokenImage:
            dropped["image_broken"] += 1
    return found


def _weighted(uid: str, weights: dict[str, float]) -> str:
    share = int.from_bytes(hashlib.sha256(f"mix {uid}".encode()).digest()[:8]) / 2**64 * sum(weights.values())
    for name, weight in weights.items():
        share -= weight
        if share < 0:
            return name
    return name


def _named(text: Row, name: str) -> str:
    """The data of a candidate: what is known of it, and the pass that wrote it."""
    return json.dumps({**json.loads(text.get("data") or "{}"), "of": name}, ensure_ascii=False)


def _joined(texts: Sequence[Row], between: str) -> Row:
    """The texts as one, made by all that made them; the first that a model wrote tells how."""
    known = next((text for text in texts if text.get("engine")), texts[0])
    names = {name: list(dict.fromkeys(one for text in texts for one in text[name])) for name in ("models", "flags")}
    return {**known, "text": between.join(text["text"] for text in texts), **names, "score": None, "data": None}


def _shared(one: str, other: str) -> float:
    words, others = (set(re.findall(r"\w+", text.lower())) for text in (one, other))
    return len(words & others) / max(1, min(len(words), len(others)))
