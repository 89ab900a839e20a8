"""Runs the images step in a process that a test can kill: `python -m tests.images.runs FOLDER`."""

import sys
from pathlib import Path

from kale_tasks.images.step import Images
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.images.world import KEY, settings

if __name__ == "__main__":
    of = settings(Path(sys.argv[1]), "images.fetch.concurrency=8")
    execute(Run(Images(), Lake(of), of, KEY))
