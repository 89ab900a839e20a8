"""Commits a small key of the sample world without running the steps before captioning."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from kale_tasks.captions.steps import find_spec, pass_specs
from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from kale_tasks.world import describe
from kale_tasks.world.alttext import AltText, make_kind, write_alt
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.scene import Scene, make_facts, make_scene

KEY = "2026-11-01"


@dataclass(frozen=True)
class Pair:
    """A row to be captioned, with the scene that its image shows."""

    uid: str
    scene: Scene
    alt: AltText
    split: str
    image: bytes


class Given(Step):
    """A step that commits given rows to a table."""

    version = 1

    def __init__(self, name: str, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.name, self.table, self.rows = name, table, list(rows)

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"rows": hashlib.sha256(repr(self.rows).encode()).hexdigest(), **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, len(self.rows))

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            rows = [{**row, "key": run.key} for row in self.rows[start:stop]]
            yield Part(number, pa.Table.from_pylist(rows, schema=TABLES[self.table].arrow), len(rows))


def pairs(rows: int, seed: str = "caption") -> list[Pair]:
    """Make pairs of all kinds, in uid order. Every tenth is held out; two thirds of the others are stage 1."""
    rng = Random(seed)
    made = []
    for i in range(rows):
        scene = make_scene(rng)
        uid = hashlib.sha256(f"{seed}{i}".encode()).hexdigest()[:32]
        split = "holdout" if i % 10 == 9 else "stage2" if i % 3 == 2 else "stage1"
        made.append(Pair(uid, scene, write_alt(rng, make_kind(rng), scene, make_facts(rng)), split, jpeg(draw(scene))))
    return sorted(made, key=lambda pair: pair.uid)


def with_alt(pair: Pair, text: str) -> Pair:
    """Copy a pair with another alt-text."""
    return replace(pair, alt=replace(pair.alt, text=text))


def give(
    lake: Lake, settings: Settings, given: Sequence[Pair], key: str = KEY, contexts: Mapping[str, str] | None = None
) -> None:
    """Commit the pairs and images of a key, with the text around images by uid."""
    shard = f"images/key={key}/given.tar"
    lake.storage.put(shard, b"".join(pair.image for pair in given))
    rows, offset = [], 0
    for pair in given:
        rows.append({
            "uid": pair.uid, "status": "ok" if pair.image else "failed", "reason": "" if pair.image else "dns",
            "split": pair.split, "shard": shard if pair.image else None, "offset": offset, "length": len(pair.image),
            "sha256": hashlib.sha256(pair.image).hexdigest(),
        })  # fmt: skip
        offset += len(pair.image)
    execute(Run(Given("images", "images", rows), lake, settings, key))
    texts = [
        {
            "uid": p.uid,
            "url": f"https://example.org/{p.uid}",
            "alt_text": p.alt.text,
            "text": p.alt.text,
            "context": (contexts or {}).get(p.uid),
            "split": p.split,
        }
        for p in given
    ]
    execute(Run(Given("ingest", "pairs", texts), lake, settings, key))


def give_dense(lake: Lake, settings: Settings, given: Sequence[Pair], key: str = KEY) -> None:
    """Commit true texts of the pass `dense` for the pairs of stage 1."""
    spec = find_spec("dense", settings)
    rows = [
        {"uid": pair.uid, "pass": spec.name, "item": "", "n": 0, "text": describe.dense(pair.scene),
         "models": ["truth@0"], "flags": []}
        for pair in given
        if pair.split == "stage1"
    ]  # fmt: skip
    step = Given(spec.name, "texts", rows)
    step.slice = spec.slice  # type: ignore[misc]
    execute(Run(step, lake, settings, key))


def run_step(name: str, lake: Lake, settings: Settings, key: str = KEY) -> Committed:
    """Run a step or a pass of the configured recipe; its rows are not checked."""
    return execute(opened_run(name, lake, settings, key))


def opened_run(name: str, lake: Lake, settings: Settings, key: str = KEY, again: str = "") -> Run:
    """Open a run of a step or a pass of the configured recipe, without checks."""
    step = find_spec(name, settings).load()
    step.suite = None
    return Run(step, lake, settings, key, again=again)


def run_captions(lake: Lake, settings: Settings, key: str = KEY, after: str = "") -> Committed:
    """Run the passes of the configured recipe, those after `after` only, and assemble the captions."""
    names = [one.label for one in pass_specs(settings.caption.recipe)]
    for name in names[names.index(after) + 1 if after else 0 :]:
        run_step(name, lake, settings, key)
    return run_step("fuse", lake, settings, key)


def untrained(folder: Path) -> Path:
    """Save two untrained models to a folder: `sees` takes images, `reads` takes text only."""
    import torch

    from kale_tasks.world.models.build import llava, llm, save
    from kale_tasks.world.models.tokenizer import build_processor, build_tokenizer

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    save(llava(tokenizer), build_processor(), folder / "sees")
    save(llm(tokenizer), tokenizer, folder / "reads")
    return folder
