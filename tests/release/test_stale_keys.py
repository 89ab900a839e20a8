"""A release takes only keys whose rows are current, and says so by leaving out the others."""

from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import Conflict
from kale_tasks.lake.marks import put_mark, unanswered_marks
from kale_tasks.lake.partition import Partition
from kale_tasks.progress import Silent
from kale_tasks.release.built import read
from kale_tasks.release.publish import publish, target
from kale_tasks.release.targets.base import Target
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.takedown.sweep import take_down
from tests.release.conftest import World, world
from tests.release.world import pipeline, uid


@pytest.fixture
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return world("folder", tmp_path, request)


def test_a_key_whose_pairs_may_be_in_another_key_too_is_left_out_until_it_is_made_again(plain: World) -> None:
    plain.fill("a", "b")
    put_mark(plain.lake.storage, Partition("pairs", "b"), "after-a-1", "a now keeps other entries")
    plain.release("b")
    assert {row["source"] for row in plain.lake.arrow("releases", "b").to_pylist()} == {"a"}
    execute(Run(pipeline(120)[0], plain.lake, plain.settings, "b"))
    assert not unanswered_marks(plain.lake, "pairs")
    plain.release("b")
    assert {row["source"] for row in plain.lake.arrow("releases", "b").to_pylist()} == {"a", "b"}


def test_a_takedown_leaves_no_key_out_of_the_next_release(plain: World) -> None:
    plain.fill("a", "b")
    take_down(plain.lake, plain.settings, {"uid": [uid("a", 3)]}, pipeline(120), Silent())
    plain.release("b")
    assert {row["source"] for row in plain.lake.arrow("releases", "b").to_pylist()} == {"a", "b"}


def test_a_release_built_before_a_takedown_is_not_published(plain: World, tmp_path: Path) -> None:
    plain.fill("a", "b")
    it = plain.with_(f"publish.target={tmp_path / 'out'}")
    it.release("b")
    take_down(it.lake, it.settings, {"uid": [uid("a", 3)]}, pipeline(120), Silent())
    with pytest.raises(Conflict, match="kale run release --key b"):
        it.publish("b")
    it.release("b")
    assert it.publish("b")


def test_a_takedown_during_an_upload_is_reported(plain: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.fill("a", "b")
    it = plain.with_(f"publish.target={tmp_path / 'out'}")
    it.release("b")
    store = type(target(it.settings))
    upload = store.publish

    def take_first(self: Target, *arguments: Any) -> str:
        take_down(it.lake, it.settings, {"uid": [uid("a", 3)]}, pipeline(120), Silent())
        return upload(self, *arguments)

    monkeypatch.setattr(store, "publish", take_first)
    with pytest.raises(Conflict, match="it is published now"):
        it.publish("b")


def test_a_release_that_was_approved_is_not_published_once_a_newer_one_was_built(plain: World, tmp_path: Path) -> None:
    plain.fill("a")
    it = plain.with_(f"publish.target={tmp_path / 'out'}")
    it.release("b")
    shown = read(it.lake, "b").version
    plain.fill("b")
    it.release("b")
    with pytest.raises(Conflict, match=f"{shown} is not published: the newest release of b is"):
        publish(it.lake, it.settings, "b", Silent(), shown)
    assert target(it.settings).current().version is None
    publish(it.lake, it.settings, "b", Silent(), read(it.lake, "b").version)
    assert target(it.settings).current().version == read(it.lake, "b").version
