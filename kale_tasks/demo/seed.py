"""The sample world of the demonstration: landing files, marked as complete."""

import json
from dataclasses import asdict
from pathlib import Path

from kale_tasks.keys import MARKER
from kale_tasks.sample.world import key_name
from kale_tasks.sample.write import Sample, write_sample


def seed(landing: Path, keys: int, pairs: int) -> list[str]:
    """Write `pairs` pairs for each of so many keys, unless they stand; answers with the keys."""
    names = [key_name(number) for number in range(keys)]
    sample, note = Sample(pairs * keys, keys), landing / "_sample.json"
    told = json.dumps(asdict(sample))
    if not note.exists() or note.read_text() != told:
        for _ in write_sample(sample, landing):
            pass
        for key in names:
            (landing / key / MARKER).touch()
        note.write_text(told)
    return names
