"""The release step: every committed caption up to a key, as files that anyone can load."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.registry import find
from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import Conflict
from kale_tasks.lake.freshness import current_contents, is_fresh
from kale_tasks.lake.marks import unanswered_marks
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.preview import no_preview
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import matcher
from kale_tasks.recipes.files import recipe_name, recipes_of
from kale_tasks.release.files import ReleaseFile, write_shard
from kale_tasks.release.registry import formats_of
from kale_tasks.release.shards import CAPTIONS, IMAGES, ReleaseShard, release_name, shards_of
from kale_tasks.runner.commit import finish_all
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings


class Release(Step):
    """All keys up to this one that have captions of the current pairs and images, of every configured recipe.

    A row of its table is a file of the release.
    """

    name: ClassVar[str] = "release"
    table: ClassVar[str] = "releases"
    as_made: ClassVar[bool] = False
    keep: ClassVar[bool] = True

    def config(self, settings: Settings) -> Mapping[str, Any]:
        raised = {form.name: form.version for form in formats_of(settings) if form.version > 1}
        return {**settings.publish.semantic(), **({"format_versions": raised} if raised else {})}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        if lake.preview:
            raise no_preview("A release", lake.preview)
        recipes = {recipe_name(recipe) for recipe in recipes_of(settings)}
        opened = Snapshot.open_all(lake, "captions")
        finish_all(lake, find("ingest"))  # a commit that was interrupted may not have put its marks
        # After the captions: a commit marks the keys whose pairs may be in two keys now, and these wait.
        marked = {partition.key for partition in unanswered_marks(lake, "pairs")}
        current = current_contents(lake)
        captions = {
            p: s
            for p, s in opened.items()
            if p.columns["recipe"] in recipes
            and p.key <= key
            and p.key not in marked
            and s.committed.rows
            and is_fresh(p.key, s.committed, current)
        }
        if not any(partition.within({"stage": 1}) for partition in captions):
            raise Conflict(f"No captions are committed up to {key} yet. Run `kale run captions --key KEY` first.")
        sources = {partition.key for partition in captions}
        found: dict[str, Input] = {CAPTIONS + partition.name: snapshot for partition, snapshot in captions.items()}
        if any(form.images for form in formats_of(settings)):
            images = Snapshot.open_all(lake, "images")
            found |= {IMAGES + p.name: snapshot for p, snapshot in images.items() if p.key in sources}
        if removal := matcher(lake).content:
            found["takedowns"] = removal  # a takedown while the release is built refuses its commit
        return found

    def chunks(self, run: Run) -> Sequence[Chunk]:
        groups = [list(group) for _, group in groupby(shards_of(run), key=lambda shard: shard.source)]
        formats = len(formats_of(run.settings))
        return [
            Chunk(index=i, first_part=group[0].number, parts=len(group), stop=len(group) * formats)
            for i, group in enumerate(groups)
        ]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        shards = shards_of(run)
        released = _released(run, shards[chunk.first_part].source)
        for number in numbers:
            shard = shards[number]
            files = released.get(shard.digest) or list(write_shard(run, shard))
            run.progress.advance(0, captions=shard.stop - shard.start)
            yield Part(
                number=number,
                rows=pa.Table.from_pylist([_row(run, shard, file) for file in files]),
                rows_in=len(files),
                metrics={"bytes": sum(file.bytes for file in files), "files": len(files)},
            )


def _row(run: Run, shard: ReleaseShard, file: ReleaseFile) -> dict[str, Any]:
    return {
        "version": release_name(run.key, run.fingerprint),
        "key": run.key,
        "source": shard.source,
        "recipe": shard.recipe,
        "stage": shard.stage,
        "cut": shard.digest,
        **{name: getattr(file, name) for name in ("path", "name", "format", "rows", "bytes", "sha256")},
        "stats": json.dumps(file.stats, sort_keys=True),
    }


def _released(run: Run, source: str) -> dict[str, list[ReleaseFile]]:
    """Return the files of the release before this one by shard digest, so that unchanged keys are not written again."""
    keys = [key for key in run.lake.keys("releases") if key <= run.key]
    if not keys:
        return {}
    rows = run.lake.arrow("releases", keys[-1], where=f"source = '{source}'").to_pylist()
    found: dict[str, dict[str, ReleaseFile]] = {}
    for row in rows:
        found.setdefault(row["cut"], {})[row["name"]] = ReleaseFile.of_row(row)
    return {
        digest: [files[name] for name in sorted(files)]
        for digest, files in found.items()
        if all(run.lake.storage.exists(file.path) for file in files.values())
    }
