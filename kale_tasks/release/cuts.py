"""How a release is cut: one cut of captions is the unit of work, of resume and of reuse by later releases."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from kale_tasks.errors import Conflict
from kale_tasks.lake.snapshot import Rows
from kale_tasks.runner.run import Run

CAPTIONS, IMAGES = "captions/", "images/"


@dataclass(frozen=True)
class Cut:
    """Rows start to stop of one stage of one key, and a digest of all that decides the bytes of their files."""

    number: int
    source: str
    stage: int
    start: int
    stop: int
    digest: str


def version(run: Run) -> str:
    """The name of the release that a run makes; equal contents have equal names."""
    return f"{run.key}-{run.fingerprint[:8]}"


def cuts(run: Run) -> list[Cut]:
    """Every cut of the release, in the order of its parts."""
    return [Cut(number, *cut) for number, cut in enumerate(_cuts(run))]


def rows(run: Run, cut: Cut) -> Rows:
    """The captions of a cut's key and stage; Conflict when they changed since the run began."""
    found = Rows(run.lake, "captions", cut.source, {"stage": cut.stage})
    if found.committed.content != run.inputs[f"{CAPTIONS}{cut.source}/stage={cut.stage}"]:
        raise Conflict(f"The captions of {cut.source} changed while they were released. Run release again.")
    return found


def _cuts(run: Run) -> Iterator[tuple[str, int, int, int, str]]:
    size = run.settings.publish.shard_rows
    partitions = run.lake.partitions("captions")
    for name in sorted(n.removeprefix(CAPTIONS) for n in run.inputs if n.startswith(CAPTIONS)):
        source, _, stage = name.partition("/stage=")
        made_of = [run.step.version, run.config, run.inputs[CAPTIONS + name], run.inputs.get(IMAGES + source), name]
        for start in range(0, partitions[name].rows, size):
            stop = min(start + size, partitions[name].rows)
            text = json.dumps([*made_of, start, stop], sort_keys=True)
            yield source, int(stage), start, stop, hashlib.sha256(text.encode()).hexdigest()[:20]
