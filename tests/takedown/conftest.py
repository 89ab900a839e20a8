"""The lakes and the Hub of the release tests, filled. The one of most tests is made once, and so all use one folder."""

import shutil
from pathlib import Path

import pytest

from tests.release.conftest import Template, World, hub, world

__all__ = ["hub"]


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lakes are: a lake knows its place."""
    return tmp_path_factory.mktemp("takedown")


@pytest.fixture(scope="package")
def template(place: Path, request: pytest.FixtureRequest) -> Template:
    """Three keys, released in several formats and published in a folder."""
    sets = ["publish.formats=[mix,images,webdataset]", f"publish.target={place / 'out'}"]
    made = world("folder", place, request, *sets, "maintenance.grace_hours=0", "maintenance.run_days=0")
    made.fill("a", "b", "c")
    made.release("c")
    made.publish("c")
    return Template(place, made)


@pytest.fixture
def tmp_path(place: Path, template: Template) -> Path:
    """The folder of the lakes, empty; the template is a copy."""
    shutil.rmtree(place)
    place.mkdir()
    return place


@pytest.fixture
def it(template: Template, tmp_path: Path) -> World:
    """The lake of the template, as it was made."""
    return template.restored()


@pytest.fixture
def one(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """One key, not released yet."""
    made = world("folder", tmp_path, request)
    made.fill("a")
    return made
