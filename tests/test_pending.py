"""Pending work: what lacks rows or was made from inputs that have changed, except blocked keys and those in work."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.pending import pending_work
from kale_tasks.quality.check import accept_run
from kale_tasks.release.shards import CAPTIONS
from kale_tasks.release.step import Release
from tests.quality.defects import each, failing
from tests.quality.test_blocked import KEY, checked, run_of
from tests.quality.world import DENSE, World, commit, commit_all, open_world


def pending(lake: Lake, **more: Any) -> dict[str, Any]:
    return pending_work(lake, lake.settings, **more)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with pairs, images and captions of stage 1 of one key."""
    made = open_world(tmp_path)
    caption(made, KEY)
    return made


def caption(lake: Lake, key: str) -> None:
    commit_all(lake, World(key, pairs=60), DENSE)
    commit(lake, World(key, pairs=60), "fuse", built_on=[("images", {})])


def test_a_key_whose_inputs_have_changed_is_pending_like_one_that_lacks_rows(lake: Lake) -> None:
    assert pending(lake)["images"] == pending(lake)["stage1"] == []
    commit(lake, World(KEY, pairs=60), "ingest", each(dup_count=2))
    assert pending(lake)["images"] == [KEY]
    commit(lake, World(KEY, pairs=60), "images", each(sha256_matches=True))
    assert (pending(lake)["images"], pending(lake)["stage1"]) == ([], [KEY])


def test_captions_of_replaced_images_are_not_released(lake: Lake) -> None:
    def sources() -> list[str]:
        found = Release().inputs(lake, lake.settings, KEY)
        return [name for name in found if name.startswith(CAPTIONS)]

    caption(lake, "2026-11-01")
    assert len(sources()) == 2
    commit(lake, World(KEY, pairs=60), "images", each(sha256_matches=True))
    assert sources() == [f"{CAPTIONS}2026-11-01/recipe=kale/stage=1"]


def test_a_blocked_key_is_not_pending_until_it_is_accepted_or_its_inputs_change(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World(KEY), "ingest")
    assert pending(lake)["images"] == [KEY]
    with pytest.raises(BadData):
        checked(run_of(lake, "images", failing(0.9, "http_404")))
    assert pending(lake)["images"] == []
    commit(lake, World(KEY), "ingest", each(dup_count=2))
    assert pending(lake)["images"] == [KEY], "other pairs may give other images"
    commit(lake, World(KEY), "ingest")
    accept_run(lake, "images", KEY, "a small site")
    assert pending(lake)["images"] == [KEY]


def test_a_key_that_is_worked_on_is_left_out_if_asked(lake: Lake) -> None:
    commit(lake, World(KEY, pairs=60), "images", each(sha256_matches=True))
    assert pending(lake)["stage1"] == [KEY]
    assert pending(lake, quiet=timedelta(hours=6))["stage1"] == []
