"""Divides a release into shards: the unit of work, of resuming, and of reuse by later releases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.runner.run import Run

CAPTIONS, IMAGES, PAIRS, LEFT_OUT = "captions/", "images/", "pairs/", "left_out/"  # prefixes of the inputs


@dataclass(frozen=True)
class ReleaseShard:
    """Rows `start` to `stop` of a stage of a recipe and key, and a digest of all that decides its files' bytes.

    Without a recipe these are rows of `images`, of which the holdout is released.
    """

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


def _shards(run: Run) -> list[tuple[str, str, int, int, int, str]]:
    captions = [run.rows(name) for name in run.inputs if name.startswith(CAPTIONS)]
    found = [shard for rows in captions for shard in _of_captions(run, rows)]
    found += [shard for name in run.inputs if name.startswith(PAIRS) for shard in _of_holdout(run, name)]
    return sorted(found)


def _of_captions(run: Run, captions: Snapshot) -> Iterator[tuple[str, str, int, int, int, str]]:
    source, columns = captions.partition.key, captions.partition.columns
    made_from = [captions.content, run.inputs.get(IMAGES + source), captions.partition.name]
    for start, stop in _spans(run, captions.count):
        yield source, columns["recipe"], columns["stage"], start, stop, _digest(run, *made_from, start, stop)


def _of_holdout(run: Run, pairs: str) -> Iterator[tuple[str, str, int, int, int, str]]:
    images = run.rows(pairs.replace(PAIRS, IMAGES))
    for start, stop in _spans(run, images.count):
        digest = _digest(run, "holdout", run.inputs[pairs], images.content, start, stop)
        yield images.partition.key, "", 0, start, stop, digest


def _spans(run: Run, count: int) -> Iterator[tuple[int, int]]:
    size = run.settings.publish.shard_rows
    return ((start, min(start + size, count)) for start in range(0, count, size))


def _digest(run: Run, *made_from: object) -> str:
    return short_sha256(json.dumps([run.step.version, run.config, *made_from], sort_keys=True))
