"""The lakes and the Hub of the release tests, filled."""

from pathlib import Path

import pytest

from tests.release.conftest import World, hub, world

__all__ = ["hub"]


@pytest.fixture
def it(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """Three keys, released in several formats and published in a folder."""
    sets = ["publish.formats=[mix,images,webdataset]", f"publish.target={tmp_path / 'out'}"]
    made = world("folder", tmp_path, request, *sets, "maintenance.grace_hours=0", "maintenance.run_days=0")
    made.fill("a", "b", "c")
    made.release("c")
    made.publish("c")
    return made


@pytest.fixture
def one(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """One key, not released yet."""
    made = world("folder", tmp_path, request)
    made.fill("a")
    return made
