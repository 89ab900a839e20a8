"""A release takes only keys whose rows are current, and says so by leaving out the others."""

from pathlib import Path

import pytest

from kale_tasks.lake.marks import put_mark, unanswered_marks
from kale_tasks.lake.partition import Partition
from kale_tasks.progress import Silent
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
