"""The step `fuse`: assembles the captions of stage 1 from the texts of a recipe's passes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.captions.chunk import ChunkRows, fact_counts, source_columns
from kale_tasks.captions.passes import PROVENANCE, RowTexts, pass_id, read_texts, split_of
from kale_tasks.captions.rows import Row
from kale_tasks.contract.step import Input, Step, committed_input, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.passes import ExpertPass, ScorePass
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.recipes.slots import COLUMNS
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings
from kale_tasks.text.grounding import Grounding, ground
from kale_tasks.text.words import RULES

_MADE = (*PROVENANCE, "models", "flags")


class Assemble(Step):
    """Makes a caption of each text of the pass that the recipe publishes."""

    name: ClassVar[str] = "fuse"
    version: ClassVar[int] = 3
    table: ClassVar[str] = "captions"

    def __init__(self, recipe: str) -> None:
        self.recipe = load_recipe(recipe)
        self.slice = {"recipe": self.recipe.name, "stage": 1}  # type: ignore[misc]
        self._with_alt = self.recipe.with_alt(self.recipe.caption)
        self._dense, self._kept = self.recipe.dense, self.recipe.kept
        published = dict.fromkeys(filter(None, (self.recipe.caption, self._dense, *self._kept)))
        made_of = [self.recipe.find(name) for name in self.recipe.sources(self.recipe.caption) - COLUMNS.keys()]
        self._rated = sorted(one.name for one in made_of if isinstance(one, ScorePass))
        self._experts = sorted(one.name for one in made_of if isinstance(one, ExpertPass))
        self._ids = {name: pass_id(self.recipe, name) for name in (*published, *self._rated, *self._experts)}

    def config(self, settings: Settings) -> Mapping[str, Any]:
        known = {"recipe": self.recipe.name, "passes": self._ids, "limit": settings.limit, "rules": RULES}
        return {**known, **split_of(self.recipe), **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        texts = {one: committed_input(lake, "texts", key, {"pass": one}) for one in self._ids.values()}
        return {**texts, **{table: committed_input(lake, table, key) for table in ("images", "pairs")}}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, run.rows("images").count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        rows = ChunkRows(run, chunk)
        for number in numbers:
            read, dropped, found = read_texts(rows, number, self._ids, of=self.recipe, with_pairs=True)
            made = []
            for row in found:
                if not row.texts[self.recipe.caption]:
                    dropped["no_caption"] += 1
                elif row.pair is None:
                    dropped["no_pair"] += 1
                else:
                    made.append(self._caption(run, row))
            yield Part(number, pa.Table.from_pylist(made, schema=TABLES["captions"].arrow), read, dropped)

    def _caption(self, run: Run, row: RowTexts) -> Row:
        text = row.texts[self.recipe.caption][0]
        dense = row.first(self._dense) if self._dense else ""
        others = {name: row.first(name) for name in self._kept if row.texts[name]}
        # A text is no source of itself, and the alt-text is none of a caption that was made without it.
        described = self._dense not in (None, self.recipe.caption)
        found = ground(text["text"], dense if described else "", row.alt.text if self._with_alt else "")
        return {
            **source_columns({**row.image, **(row.pair or {})}),
            **fact_counts(found, dense=described, alt=self._with_alt),
            **{name: text[name] for name in _MADE},
            **self.slice,
            "key": run.key,
            "dense_caption": dense or None,
            "caption": text["text"],
            "also": _json(others),
            "candidates": _json(self._candidates(row)),
            "experts": _json(self._provenance(row)),
            "flags": [*text["flags"], *(["alt_unused"] if described and self._ignored_alt(text, found) else [])],
        }

    def _candidates(self, row: RowTexts) -> list[Row]:
        """The texts that were rated on the way to the caption."""
        return [
            {"pass": json.loads(text["data"])["of"], "n": text["n"], "text": text["text"], "score": text["score"]}
            for name in self._rated
            for text in row.texts[name]
        ]

    def _provenance(self, row: RowTexts) -> Row:
        """The experts that found something, with their models."""
        found = {}
        for name in self._experts:
            if values := row.texts[name]:
                models = sorted({model for value in values for model in value["models"] or ()})
                best = max((value["score"] for value in values if value["score"] is not None), default=None)
                found[name] = {"models": models, "values": len(values), "score": best}
        return found

    def _ignored_alt(self, text: Row, found: Grounding) -> bool:
        """Whether a caption was fused with the alt-text and has no fact that only the alt-text knows."""
        fell_back = any(flag == "alt_noise" or flag.startswith("fallback_") for flag in text["flags"])
        return self._with_alt and not fell_back and not found.from_alt - found.from_dense


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else None
