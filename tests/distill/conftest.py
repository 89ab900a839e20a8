"""A school that all tests of distillation share; nobody writes to it."""

import pytest

from kale_tasks.distill.dataset import Source
from kale_tasks.distill.model import load
from kale_tasks.distill.tokenization import Wording
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import load_recipe
from tests.distill import school

KEYS = ("2026-11-01", "2026-11-02")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return school.small_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def taught(base, tmp_path_factory):
    """A lake with captions of two keys."""
    lake = Lake(school.small_settings(tmp_path_factory.mktemp("taught"), base))
    for key in KEYS:
        school.teach(lake, key, 300)
    return lake


@pytest.fixture(scope="session")
def source(taught):
    return Source(taught, KEYS)


@pytest.fixture(scope="session")
def processor(base):
    return load(base)[1]


@pytest.fixture(scope="session")
def wording(processor):
    return Wording(processor, load_recipe("demo"))


@pytest.fixture
def lake(tmp_path, base):
    """A lake of the test's own."""
    made = Lake(school.small_settings(tmp_path, base))
    school.teach(made, school.KEY, 60)
    return made
