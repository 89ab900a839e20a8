"""Runs all passes of a recipe as a script, for tests that kill it: recipe file, then settings."""

import sys

from kale_tasks.captions.local_passes import run_passes
from kale_tasks.recipes.recipe import load_recipe
from tests.captions.conftest import COMMON
from tests.captions.world import KEY
from tests.lakes import lake_of

if __name__ == "__main__":
    lake, settings = lake_of([*COMMON, "caption.engine=openai", *sys.argv[2:]])
    list(run_passes(lake, settings, load_recipe(sys.argv[1]), KEY))
