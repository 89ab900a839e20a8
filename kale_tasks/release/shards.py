"""Divides a release into shards: the unit of work, of resuming, and of reuse by later releases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from kale_tasks.errors import Conflict
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.snapshot import Rows
from kale_tasks.runner.run import Run

CAPTIONS, IMAGES = "captions/", "images/"


@dataclass(frozen=True)
class ReleaseShard:
    """Rows `start` to `stop` of one stage of one key, and a digest of everything that decides its files' bytes."""

    number: int
    source: str
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


def captions_of(run: Run, shard: ReleaseShard) -> Rows:
    """Open the captions of a shard's key and stage; Conflict if they changed since the run was planned."""
    found = Rows(run.lake, "captions", shard.source, {"stage": shard.stage})
    if found.committed.content != run.inputs[f"{CAPTIONS}{shard.source}/stage={shard.stage}"]:
        raise Conflict(f"The captions of {shard.source} changed during the release. Run release again.")
    return found


def _shards(run: Run) -> Iterator[tuple[str, int, int, int, str]]:
    size = run.settings.publish.shard_rows
    partitions = run.lake.partitions("captions")
    for name in sorted(n.removeprefix(CAPTIONS) for n in run.inputs if n.startswith(CAPTIONS)):
        source, _, stage = name.partition("/stage=")
        made_from = [run.step.version, run.config, run.inputs[CAPTIONS + name], run.inputs.get(IMAGES + source), name]
        for start in range(0, partitions[name].rows, size):
            stop = min(start + size, partitions[name].rows)
            text = json.dumps([*made_from, start, stop], sort_keys=True)
            yield source, int(stage), start, stop, short_sha256(text)
