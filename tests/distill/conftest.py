"""A small lake with captions and a small model, shared by all tests of distillation. Tests must not write to it."""

import pytest

from kale_tasks.distill.dataset import CaptionDataset
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.model import load
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import load_recipe
from tests.distill import small

KEYS = ("2026-11-01", "2026-11-02")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return small.small_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def captioned(base, tmp_path_factory):
    """A lake with captions of two keys."""
    lake = Lake(small.small_settings(tmp_path_factory.mktemp("captioned"), base))
    for key in KEYS:
        small.commit_captions(lake, key, 300)
    return lake


@pytest.fixture(scope="session")
def dataset(captioned):
    return CaptionDataset.open(captioned, "demo", KEYS)


@pytest.fixture(scope="session")
def processor(base):
    return load(base)[1]


@pytest.fixture(scope="session")
def encoder(processor):
    return ExampleEncoder(processor, load_recipe("demo"))


@pytest.fixture
def lake(tmp_path, base):
    """A lake with captions of one key that a test may write to."""
    made = Lake(small.small_settings(tmp_path, base))
    small.commit_captions(made, small.KEY, 60)
    return made
