"""The release step: every committed caption up to a key, as files that anyone can load."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.registry import find
from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.preview import no_preview
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import matcher
from kale_tasks.recipes.files import recipe_name, recipes_of
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.release.choice import choose, refuse
from kale_tasks.release.files import ReleaseFile, released_name, write_shard
from kale_tasks.release.formats.base import Format
from kale_tasks.release.formats.further import View
from kale_tasks.release.registry import formats_of
from kale_tasks.release.shards import CAPTIONS, IMAGES, LEFT_OUT, PAIRS, ReleaseShard, release_name, shards_of
from kale_tasks.release.unique import require_unique
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
        licenses = {"licenses": settings.publish.licenses} if "licenses" in settings.publish.formats else {}
        return {**settings.publish.semantic(), **({"format_versions": raised} if raised else {}), **licenses}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        if lake.preview:
            raise no_preview("A release", lake.preview)
        formats = _known_views(settings, formats_of(settings))
        opened = Snapshot.open_all(lake, "captions")
        finish_all(lake, find("ingest"))  # a commit that was interrupted may not have put its marks
        choice = choose(lake, {recipe_name(recipe) for recipe in recipes_of(settings)}, key, opened)
        if choice.left_out and settings.publish.unfit == "refuse":
            raise refuse(choice)
        if not any(partition.within({"stage": 1}) for partition in choice.captions):
            why = f" Left out: {refuse(choice)}" if choice.left_out else ""
            raise Conflict(f"No captions are committed up to {key} yet. Run `kale run captions --key KEY` first.{why}")
        sources = {partition.key for partition in choice.captions}
        found: dict[str, Input] = {CAPTIONS + partition.name: rows for partition, rows in choice.captions.items()}
        found |= {
            LEFT_OUT + partition.name: f"{choice.rows_left_out[partition]} {why}"
            for partition, why in choice.left_out.items()
        }
        pairs, images = (not form.of_captions for form in formats), (form.images for form in formats)
        for prefix, table, needed in ((PAIRS, "pairs", any(pairs)), (IMAGES, "images", any(images))):
            rows_of = Snapshot.open_all(lake, table) if needed else {}
            found |= {prefix + p.name: rows for p, rows in rows_of.items() if p.key in sources}
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
                rows=pa.Table.from_pylist([_row(run, shard, file) for file in files], schema=TABLES["releases"].arrow),
                rows_in=len(files),
                metrics={"bytes": sum(file.bytes for file in files), "files": len(files)},
            )

    def finalize(self, run: Run, receipts: Mapping[int, Any]) -> Iterator[Part]:
        """Make sure that no uid is in two keys. Writes nothing."""
        names = (name for name in run.inputs if name.startswith(CAPTIONS))
        require_unique({rows.partition: rows for rows in map(run.rows, names)})
        yield from ()


def _known_views(settings: Settings, formats: Sequence[Format]) -> Sequence[Format]:
    """Return the formats; BadConfig if one is a text that no recipe publishes."""
    views = {form.view for form in formats if isinstance(form, View)}
    kept = {name for recipe in recipes_of(settings) for name in load_recipe(recipe).kept} if views else set()
    if unknown := sorted(views - kept):
        raise BadConfig(
            f"publish.formats: no recipe lists '{unknown[0]}' in `also`. Known: {', '.join(sorted(kept)) or 'none'}."
        )
    return formats


def _row(run: Run, shard: ReleaseShard, file: ReleaseFile) -> dict[str, Any]:
    folder, base = file.name.partition("/")[0], file.name.rpartition("/")[2]
    return {
        "version": release_name(run.key, run.fingerprint),
        "key": run.key,
        "source": shard.source,
        "recipe": shard.recipe,
        "stage": shard.stage,
        "cut": shard.digest,
        **{name: getattr(file, name) for name in ("path", "format", "rows", "bytes", "sha256")},
        "name": released_name(shard, folder, base),  # a file of an earlier release may have had another place
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
        found.setdefault(row["cut"], {})[row["path"]] = ReleaseFile.of_row(row)  # its name may differ by release
    return {
        digest: [files[path] for path in sorted(files)]
        for digest, files in found.items()
        if all(run.lake.storage.exists(file.path) for file in files.values())
    }
