"""Runs all passes of a recipe as a script, for tests that kill it: recipe file, then settings."""

import sys

from tests.captions.conftest import COMMON
from tests.captions.world import run_captions
from tests.lakes import lake_of

if __name__ == "__main__":
    run_captions(*lake_of([*COMMON, "caption.engine=openai", f"caption.recipe={sys.argv[1]}", *sys.argv[2:]]))
