"""The pass `select`: chooses rows of a key by their vectors. All rows of a key are compared, so it is one chunk."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa

from kale_tasks.captions.passes import PassStep
from kale_tasks.contract.step import Input, part_span
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import open_embedder
from kale_tasks.experts.host import Host, HostedRow
from kale_tasks.lake.evaluation import evaluation_content, evaluation_images
from kale_tasks.lake.index import LOOKS
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.passes import EmbedPass, SelectPass
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.runner.commit import finish_all
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import read_sealed
from kale_tasks.selection.choose import EVALUATION, Known, Selection, Wanted, choose
from kale_tasks.selection.earlier import Limits
from kale_tasks.selection.engine import open_engine
from kale_tasks.selection.places import look_bits
from kale_tasks.selection.vectors import STEPS, Floats, Vectors, product
from kale_tasks.settings import Settings

_IMAGE = ["uid", "status", "split", "phash", "flags"]
_HASHED_ALIKE = "near_duplicate"  # flag of images whose perceptual hash is near that of an earlier one
_INDEX_PARTS = 16  # parts whose index entries are made at once


class SelectStep(PassStep):
    """Writes a row for each chosen row; all others are dropped by rule."""

    also: ClassVar[tuple[str, ...]] = (LOOKS,)

    def __init__(self, recipe: Recipe, name: str) -> None:
        super().__init__(recipe, name)
        self._pass = cast(SelectPass, self.one)
        self.side_table = LOOKS if self._pass.earlier else ""  # type: ignore[misc]
        self._look = cast(EmbedPass, recipe.find(self._pass.select))
        self._cosine = self._pass.cosine or open_embedder(self._look.embed, self._look.options).same

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        known = dict(super().inputs(lake, settings, key))
        if self._pass.evaluation:
            content = evaluation_content(lake)
            if content is None:
                raise BadConfig(
                    f"The pass '{self._pass.name}' looks for evaluation images. Set images.evaluation to their folder "
                    f"below the landing, or leave `evaluation` out of the pass."
                )
            known["evaluation"] = content
        return known

    def config(self, settings: Settings) -> Mapping[str, Any]:
        of_hashes = {"near_bits": settings.images.near_bits} if self._pass.earlier else {}
        return {**super().config(settings), "cosine": self._cosine, **of_hashes}

    def side_snapshot(self, lake: Lake) -> int | None:
        if self.side_table:
            finish_all(lake, self)
        return super().side_snapshot(lake)

    def chunks(self, run: Run) -> Sequence[Chunk]:
        rows = run.rows("images").count
        rows = min(rows, run.settings.limit or rows)
        return [Chunk(index=0, first_part=0, parts=-(-rows // run.settings.parts.part_rows), stop=rows)] if rows else []

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        look = run.rows(self._ids[self._pass.select])
        known = _known(run, chunk, look)
        with open_engine(run.settings.ingest, len(known.uids)) as engine:
            found = choose(engine, Vectors.of(look), known, self._wanted(run), self._evaluation(run))
        for number in numbers:
            yield self._part(run, chunk, number, found)

    def summary(self, run: Run) -> str:
        """Say how many clusters have a chosen row."""
        sealed = read_sealed(run.lake.storage, run.folder)
        counts = sealed.metrics if sealed else {}
        clusters, covered = int(counts.get("clusters", 0)), int(counts.get("clusters_covered", 0))
        return f"{covered} of {clusters} clusters are covered ({covered / clusters:.1%})" if clusters else ""

    def _wanted(self, run: Run) -> Wanted:
        of = self._pass
        return Wanted(
            least=product(self._cosine), copies=of.copies, evaluation=of.evaluation, clusters=of.clusters, best=of.best,
            share=of.share, diverse=of.keep == "diverse", earlier=run.side_inputs if of.earlier else None,
            limits=Limits(look_bits(self._cosine), run.settings.images.near_bits),
        )  # fmt: skip

    def _evaluation(self, run: Run) -> Floats:
        """The vectors of the evaluation images that can be decoded."""
        if not self._pass.evaluation:
            return np.zeros((0, 0), np.float32)
        sent = [HostedRow(f"{at:08d}", "", image) for at, image in enumerate(evaluation_images(run.lake))]
        with Host("embedder", self._look.embed, self._look.options) as host:
            vectors = list(host.ask(sent).vectors.values())
        return np.round(np.stack(vectors) * STEPS) if vectors else np.zeros((0, 0), np.float32)

    def _part(self, run: Run, chunk: Chunk, number: int, found: Selection) -> Part:
        start, stop = part_span(run.settings, chunk, number)
        images = run.rows("images").read(start, stop, _IMAGE).to_pylist()
        dropped, made = Counter[str](), list[dict[str, Any]]()
        for image in images:
            at = found.at(image["uid"])
            if image["status"] != "ok":
                dropped["image_failed"] += 1
            elif image["split"] != self.recipe.split:
                dropped[f"not_{self.recipe.split}"] += 1
            elif at is None:
                dropped[f"no_{self._pass.select}"] += 1
            elif found.rules[at]:
                dropped[found.rules[at]] += 1
            else:
                made.append(self._row(run, image["uid"], found, at))
        also = {}
        if self._pass.earlier and number % _INDEX_PARTS == 0:
            last = min(number + _INDEX_PARTS, chunk.first_part + chunk.parts) - 1
            also[LOOKS] = self._entries(run, found, start, part_span(run.settings, chunk, last)[1])
        metrics = found.cover if number == chunk.first_part else {}
        return Part(
            number, pa.Table.from_pylist(made, schema=TABLES["texts"].arrow), len(images), dropped, also=also,
            metrics=metrics,
        )  # fmt: skip

    def _row(self, run: Run, uid: str, found: Selection, at: int) -> dict[str, Any]:
        flags = found.flags(at)
        if not len(found.cluster):
            return self.text_row(run.key, uid, "chosen", flags=flags)
        cluster, place = int(found.cluster[at]), int(found.place[at])
        data = json.dumps({"cluster": cluster, "place": place})
        closeness = round(int(found.closeness[at]) / STEPS**2, 4)
        return self.text_row(run.key, uid, f"cluster {cluster}", n=0, score=closeness, data=data, flags=flags)

    def _entries(self, run: Run, found: Selection, start: int, stop: int) -> pa.Table:
        """The index entries of the rows of some parts: of those kept, and of those lost to an earlier key."""
        images = run.rows("images").read(start, stop, ["uid"])["uid"]
        first, last = images[0].as_py(), images[-1].as_py()
        return found.entries(
            run.rows(self._ids[self._pass.select]).between(first, last, ["uid", "vector"]),
            {"key": run.key, "pass": self.name},
        )


def _known(run: Run, chunk: Chunk, look: Snapshot) -> Known:
    """What is known of the rows that have a vector without comparing vectors."""
    uids = [uid for part in look.batches(["uid"]) for uid in part["uid"].to_pylist()]
    place = {uid: at for at, uid in enumerate(uids)}
    phash, hashed, evaluation = np.zeros(len(uids), np.int64), np.zeros(len(uids), bool), np.zeros(len(uids), bool)
    for number in chunk.numbers:
        for row in run.rows("images").read(*part_span(run.settings, chunk, number), _IMAGE).to_pylist():
            if (at := place.get(row["uid"])) is not None:
                phash[at], flags = row["phash"] or 0, row["flags"] or ()
                hashed[at], evaluation[at] = _HASHED_ALIKE in flags, EVALUATION in flags
    return Known(uids, phash, hashed, evaluation)
