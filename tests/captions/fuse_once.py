"""Runs the pass that fuses as a script, for tests that kill it."""

import sys

from tests.captions.conftest import COMMON
from tests.captions.world import run_step
from tests.lakes import lake_of

if __name__ == "__main__":
    run_step("fused", *lake_of([*COMMON, "caption.engine=openai", *sys.argv[1:]]))
