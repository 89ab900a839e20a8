"""Runs fuse as a script, for tests that kill it."""

import sys

from kale_tasks.captions.fuse import Fuse
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.captions.conftest import COMMON
from tests.captions.world import KEY
from tests.lakes import lake_of

if __name__ == "__main__":
    execute(Run(Fuse(), *lake_of([*COMMON, "caption.engine=openai", *sys.argv[1:]]), KEY))
