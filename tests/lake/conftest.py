"""Every test of the lake runs on a folder and on S3."""

from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings
from tests.lakes import KINDS, lake_of, lake_sets


@pytest.fixture(params=KINDS)
def sets(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The settings of a new lake of each kind."""
    return lake_sets(request.param, tmp_path, request)


@pytest.fixture
def lake(sets: list[str]) -> tuple[Lake, Settings]:
    """A new lake of each kind."""
    return lake_of(sets)
