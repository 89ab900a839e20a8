"""The sample world of the demonstration: landing files, marked as complete."""

import json
from dataclasses import asdict
from pathlib import Path

from kale_tasks.lake.keys import MARKER
from kale_tasks.world.world import key_name
from kale_tasks.world.write import ELSEWHERE, Sample, write_sample


def seed(landing: Path, keys: int, pairs: int, web: str | None = None) -> list[str]:
    """Write `pairs` pairs for each of so many keys, unless they stand; answers with the keys.

    Their images are on the sample web at that address; without one they are in tars.
    """
    names = [key_name(number) for number in range(keys)]
    sample = Sample(pairs * keys, keys, images="web" if web else "tar", web_url=web or ELSEWHERE)
    note, told = landing / "_sample.json", json.dumps(asdict(sample))
    if not note.exists() or note.read_text() != told:
        for _ in write_sample(sample, landing):
            pass
        for key in names:
            (landing / key / MARKER).touch()
        note.write_text(told)
    return names
