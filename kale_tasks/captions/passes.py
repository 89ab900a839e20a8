"""Passes of recipes as steps: what each of them depends on, and the texts that earlier passes wrote for a row.

A pass is identified by its name, its block in the recipe and the passes it reads, not by its recipe. Recipes that have
a pass in common share its texts. Its account counts texts: those that it was to make, kept, dropped and quarantined.
"""

import json
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.captions.chunk import ChunkRows
from kale_tasks.captions.rows import Row
from kale_tasks.contract.step import Input, Step, committed_input, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.experts.base import open_expert, open_scorer
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.models.locate import pinned
from kale_tasks.recipes.parts import AskPass, ExpertPass, ScorePass
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.recipes.slots import COLUMNS, SlotText, SlotValue
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings
from kale_tasks.text.alttext import PromptAlt, prepare_alt

_READ = ["uid", "item", "n", "text", "score", "data", "model"]


@dataclass
class RowTexts:
    """A row that a pass works on: its image, its alt-text, and the texts of earlier passes by name."""

    image: Row
    alt: PromptAlt
    texts: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    @property
    def uid(self) -> str:
        """The uid of the pair."""
        return str(self.image["uid"])

    @property
    def values(self) -> dict[str, SlotValue]:
        """What slots and conditions read."""
        texts = {name: [SlotText(row["text"], row["score"]) for row in rows] for name, rows in self.texts.items()}
        return {"alt": self.alt.text, **texts}

    def first(self, name: str) -> str:
        """The first text of a pass, or the alt-text; empty if there is none."""
        if name == "alt":
            return self.alt.text
        return self.texts[name][0]["text"] if self.texts[name] else ""


def pass_id(recipe: Recipe, name: str) -> str:
    """Identify a pass: equal for passes of equal name and block that read the same."""
    one = recipe.find(name)
    known: dict[str, Any] = {"block": one.semantic(), "reads": [_read_id(recipe, read) for read in one.reads()]}
    if isinstance(one, AskPass):
        spec = recipe.models[one.ask]
        known["block"] = {**known["block"], "ask": {**spec.semantic(), "model": pinned(spec.model)}}
    elif isinstance(one, ExpertPass):
        known["identity"] = open_expert(one.expert, one.options).identity
    elif isinstance(one, ScorePass):
        known["identity"] = open_scorer(one.by, one.options).identity
    return f"{name}-{short_sha256(json.dumps(known, sort_keys=True, ensure_ascii=False), 12)}"


def _read_id(recipe: Recipe, read: str) -> str:
    return read if read in COLUMNS else pass_id(recipe, read)


class PassStep(Step):
    """One pass of a recipe on a key: reads images, pairs and earlier passes, writes a partition of `texts`."""

    table: ClassVar[str] = "texts"

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.recipe, self.one = recipe, recipe.find(name)
        self.name = pass_id(recipe, name)  # type: ignore[misc]
        self.slice = {"pass": self.name}  # type: ignore[misc]
        self._reads = list(dict.fromkeys(self.one.reads()))

    def config(self, settings: Settings) -> Mapping[str, Any]:
        engine = {"engine": settings.caption.engine} if isinstance(self.one, AskPass) else {}
        return {"pass": self.name, "limit": settings.limit, **engine, **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        tables = ["images", *(["pairs"] if "alt" in self._reads or isinstance(self.one, ExpertPass) else [])]
        opened: dict[str, Input] = {table: committed_input(lake, table, key) for table in tables}
        for name in self._passes():
            slice_ = {"pass": pass_id(self.recipe, name)}
            opened[name] = committed_input(lake, "texts", key, slice_)
        return opened

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, run.rows("images").count)

    def rows(self, work: ChunkRows, number: int) -> tuple[Counter[str], list[RowTexts]]:
        """Read the rows of a part; those of other splits and without an image are dropped."""
        _, dropped, images = work.image_rows(number, {"stage1": ""}, "not_stage1")
        uids = [image["uid"] for image in images]
        pairs = work.pairs_of(uids) if "pairs" in work.run.inputs else {}
        found = [RowTexts(image, prepare_alt((pairs.get(image["uid"]) or {}).get("alt_text"))) for image in images]
        by_uid = {row.uid: row for row in found}
        for name in self._passes() if uids else ():
            for text in work.run.rows(name).between(uids[0], uids[-1], _READ).to_pylist():
                if text["uid"] in by_uid:
                    by_uid[text["uid"]].texts[name].append(text)
        return dropped, found

    def text_row(self, key: str, uid: str, text: str, **more: Any) -> Row:
        """Make a row of `texts`."""
        return {"uid": uid, "key": key, "pass": self.name, "item": "", "n": 0, "text": text, "flags": [], **more}

    def _passes(self) -> list[str]:
        return [name for name in self._reads if name not in COLUMNS]


class LocalPass(PassStep):
    """A pass that asks no engine: it makes the texts of a row from what is known of it."""

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        work = ChunkRows(run, chunk)
        with self.ready():
            for number in numbers:
                dropped, rows = self.rows(work, number)
                made = self.make_texts(work, rows, dropped)
                table = pa.Table.from_pylist(made, schema=TABLES["texts"].arrow)
                yield Part(number, table, len(made) + dropped.total(), dropped)

    @abstractmethod
    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Make the texts of the rows of a part, and count what is dropped by rule."""

    @abstractmethod
    def ready(self) -> Any:
        """Return a context in which `make_texts` can be called."""
