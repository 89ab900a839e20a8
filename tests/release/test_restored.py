"""A lake that was lost and restored from its backup publishes the release that it published before, byte for byte."""

from pathlib import Path

import pytest

from tests.lake.drill import KINDS_OF_DRILLS, Drill
from tests.release.conftest import World, world


@pytest.fixture(params=KINDS_OF_DRILLS)
def it(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A lake with a release of two keys."""
    made = world(request.param, tmp_path, request)
    made.fill("a", "b")
    return made


def published(folder: Path) -> dict[str, bytes]:
    """Every file that readers find."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_restored_lake_publishes_the_same_release(it: World, tmp_path: Path) -> None:
    name = it.release("b")
    it.with_(f"publish.target={tmp_path / 'before'}").publish("b")
    drill = Drill(it.sets, tmp_path)
    catalog, files = drill.back_up_catalog(), drill.back_up_files()
    it.fill("c")
    it.release("c")
    for entry in list(it.lake.storage.entries("")):
        if not entry.path.startswith("catalog.db"):
            it.lake.storage.delete(entry.path)
    files()
    catalog()
    restored = it.with_(f"publish.target={tmp_path / 'after'}")
    restored.publish("b")
    assert published(tmp_path / "after") == published(tmp_path / "before")
    assert len(published(tmp_path / "after")) > 2
    assert restored.release("b") == name
