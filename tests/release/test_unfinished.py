"""A commit that was interrupted before it put its marks is finished before anyone relies on them."""

from pathlib import Path

import pytest

from kale_tasks.contract.registry import find
from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.release.step import Release
from kale_tasks.runner.order import unfinished_keys
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.status import state
from tests.kale import kale
from tests.release.conftest import World, world
from tests.release.world import Ingest


@pytest.fixture
def one(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """One key, not released yet."""
    made = world("folder", tmp_path, request)
    made.fill("a", rows=30)
    return made


def interrupt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit a key and die after the swap of its main table."""
    with monkeypatch.context() as dying:
        dying.setattr("kale_tasks.runner.verbs.finish", lambda *_: None)
        execute(Run(Ingest(30, {"a": "new"}), world.lake, world.settings, "a"))
    assert unfinished_keys(world.lake, find("ingest")) == ["a"]


def test_a_release_finishes_interrupted_commits(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(one, monkeypatch)
    with pytest.raises(Conflict, match="No captions"):  # those of the key are not of its current pairs
        Release().inputs(one.lake, one.settings, "a")
    assert unfinished_keys(one.lake, find("ingest")) == []


def test_status_finishes_interrupted_commits(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(one, monkeypatch)
    assert kale("status", "--json", sets=one.sets).code == 0
    assert unfinished_keys(one.lake, find("ingest")) == []


def test_the_state_of_a_key_does_not_open_the_index_of_other_keys(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the files of all keys were listed")

    monkeypatch.setattr(Lake, "opened_all", refuse)
    assert state(one.lake, one.settings, find("ingest"), "a")["state"] == "stale"  # the world has no landing files
