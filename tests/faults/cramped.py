"""A process whose disk is full and gets room little by little: it runs the same command until that has room enough."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kale_tasks.contract import registry as steps
from tests.kale import kale
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"
ROOM = [1024 << i for i in range(12)]  # what an attempt finds


class New(Numbers):
    """What is run while there is no room."""

    def __init__(self) -> None:
        super().__init__(50, "new ")


def disk(folder: Path) -> Iterator[None]:
    """A file system of its own, whose room a ballast takes; with each step it weighs less."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    yield
    ballast = folder / "ballast"
    for room in ROOM:
        ballast.unlink(missing_ok=True)
        free = os.statvfs(folder)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_bsize - room))
        yield


def limit(_: Path) -> Iterator[None]:
    """No file may be longer than so much; the same for whoever may not mount."""
    yield
    for room in ROOM:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        yield


def main(how: str, folder: str) -> None:
    """Print how each attempt ended, with the rows that a reader sees after it."""
    room = {"disk": disk, "limit": limit}[how](Path(folder))
    next(room)
    sets = lake_sets("folder", Path(folder))
    for step in ("tests.steps:Numbers", "tests.faults.cramped:New"):
        steps.STEPS["ingest"] = replace(steps.STEPS["ingest"], reference=step, suite=None)
        done = False
        while not done:
            if step.endswith("New"):
                next(room)
            answer = kale("run", "ingest", "--key", KEY, sets=sets)
            texts = lake_of(sets)[0].arrow("pairs", KEY)["alt_text"].to_pylist()
            print(json.dumps({"code": answer.code, "complaint": answer.complaint, "texts": sorted(texts)}))
            done = answer.code == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
