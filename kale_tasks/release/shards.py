"""Divides a release into shards: the unit of work, of resuming, and of reuse by later releases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.runner.run import Run

CAPTIONS, IMAGES = "captions/", "images/"


@dataclass(frozen=True)
class ReleaseShard:
    """Rows `start` to `stop` of a stage of a recipe and key, and a digest of all that decides its files' bytes."""

    number: int
    source: str
    recipe: str
    stage: int
    start: int
    stop: int
    digest: str


def release_name(key: str, fingerprint: str) -> str:
    """Return the name of the release that a run makes; equal contents have equal names."""
    return f"{key}-{fingerprint[:8]}"


def shards_of(run: Run) -> list[ReleaseShard]:
    """Return every shard of the release, in the order of its parts."""
    return [ReleaseShard(number, *shard) for number, shard in enumerate(_shards(run))]


def captions_of(run: Run, shard: ReleaseShard) -> Snapshot:
    """Return the captions of a shard, as opened when the release was planned."""
    return run.rows(
        CAPTIONS + Partition.of("captions", shard.source, {"recipe": shard.recipe, "stage": shard.stage}).name
    )


def _shards(run: Run) -> Iterator[tuple[str, str, int, int, int, str]]:
    size = run.settings.publish.shard_rows
    for name in sorted(name for name in run.inputs if name.startswith(CAPTIONS)):
        captions = run.rows(name)
        source, columns = captions.partition.key, captions.partition.columns
        made_from = [run.step.version, run.config, captions.content, run.inputs.get(IMAGES + source)]
        for start in range(0, captions.count, size):
            stop = min(start + size, captions.count)
            text = json.dumps([*made_from, captions.partition.name, start, stop], sort_keys=True)
            yield source, columns["recipe"], columns["stage"], start, stop, short_sha256(text)
