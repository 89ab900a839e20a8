"""Pending work: what lacks rows or was made from inputs that have changed, except blocked keys and those in work."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kale_tasks.captions.steps import find_spec, pass_specs
from kale_tasks.contract.registry import step_spec
from kale_tasks.contract.step import Step
from kale_tasks.errors import BadData
from kale_tasks.lake.holds import hold, release_hold
from kale_tasks.lake.marks import put_mark
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Lake
from kale_tasks.pending import pending_work
from kale_tasks.quality.check import accept_run
from kale_tasks.release.shards import CAPTIONS
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.captions.conftest import COMMON
from tests.captions.world import give, pairs, run_step
from tests.engines.server import completion, serving
from tests.lakes import lake_of
from tests.quality.defects import each, failing, first_twice
from tests.quality.test_blocked import KEY, checked, run_of
from tests.quality.world import DENSE, SLICES, World, commit, commit_all, given, open_world


def pending(lake: Lake, of: Settings | None = None, **more: Any) -> dict[str, Any]:
    """What is pending, with that of the only recipe beside the rest."""
    found = pending_work(lake, of or lake.settings, **more)
    return {**found, **found["recipes"]["kale"]}


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


def commit_as(lake: Lake, recipe: str, step: str, key: str = KEY) -> None:
    """Commit the captions of the key as those of another recipe."""
    made = given(lake, World(key, pairs=60), step, each(recipe=recipe), built_on=[("images", {})])
    made.slice = {**SLICES[step], "recipe": recipe}
    execute(Run(cast("Step", made), lake, lake.settings, key))


def test_every_configured_recipe_is_looked_at(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"schedule.recipes": "[kale, dense-only]"})
    caption(lake, KEY)
    found = pending_work(lake, lake.settings)
    assert {name: lacks["stage1"] for name, lacks in found["recipes"].items()} == {"kale": [], "dense-only": [KEY]}
    commit_as(lake, "dense-only", "fuse")
    assert pending_work(lake, lake.settings)["recipes"]["dense-only"]["stage1"] == []


def test_the_holdout_of_the_first_keys_is_to_be_captioned_until_there_are_enough_rows_to_judge_by(
    tmp_path: Path,
) -> None:
    def missing(rows: int) -> list[str]:
        return pending(lake, of=lake.settings.with_values({"distill": {"gate": {"rows": rows}}}))["holdout"]

    lake = open_world(tmp_path, **{"ingest.split.stage1": 0.5, "ingest.split.holdout": 0.1})
    keys = ["2026-11-01", "2026-11-02", "2026-11-03"]
    for key in keys:
        caption(lake, key)
    each_key = 0.1 * lake.committed("images", keys[0]).rows
    assert [missing(round(n * each_key) - 1) for n in (1, 2, 3)] == [keys[:1], keys[:2], keys]
    for variant in ("kale@holdout", "kale@again"):
        assert missing(1) == keys[:1]
        commit_as(lake, variant, "fuse", keys[0])
    made = lake.committed("captions", keys[0], {"recipe": "kale@holdout", "stage": 1}).rows
    assert missing(made) == [] and missing(made + 1) == keys[1:2]
    commit(lake, World(keys[0], pairs=60), "images", each(sha256_matches=True))
    assert missing(1) == keys[:1], "captions of images that have changed since"


def test_a_key_is_to_be_released_once_any_recipe_has_captions_of_both_stages(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"schedule.recipes": "[kale, dense-only]"})
    commit_all(lake, World(KEY, pairs=60), DENSE)
    commit_as(lake, "dense-only", "fuse")
    assert pending_work(lake, lake.settings)["release"] == []
    commit_as(lake, "dense-only", "student")
    assert pending_work(lake, lake.settings)["release"] == [KEY]
    settings = lake.settings.with_values({"schedule": {"recipes": []}})
    assert pending_work(lake, settings)["release"] == [], "captions of a recipe that is no longer configured"


def test_a_blocked_pass_holds_up_the_recipes_that_have_it(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"schedule.recipes": "[kale, dense-only]"})
    commit_all(lake, World(KEY), "images")
    spec = pass_specs("kale")[0]
    made = given(lake, World(KEY), DENSE, each(**{"text": "I cannot describe this image.", "pass": spec.name}))
    made.name, made.slice, made.suite = spec.name, spec.slice, spec.suite
    with pytest.raises(BadData):
        checked(Run(cast("Step", made), lake, lake.settings, KEY))
    recipes = pending_work(lake, lake.settings)["recipes"]
    assert {name: lacks["stage1"] for name, lacks in recipes.items()} == {"kale": [], "dense-only": [KEY]}


def test_keys_whose_pairs_may_be_in_an_earlier_key_are_to_be_ingested_again_in_order(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    for key in ("2026-11-01", "2026-11-02", "2026-11-03"):
        commit(lake, World(key), "ingest")
    for key in ("2026-11-03", "2026-11-02"):
        put_mark(lake.storage, Partition("pairs", key), "after-2026-10-31", "2026-10-31 keeps other entries")
    assert pending(lake)["ingest"] == ["2026-11-02", "2026-11-03"]
    assert pending(lake, quiet=timedelta(hours=6))["ingest"] == []
    commit(lake, World("2026-11-02"), "ingest")
    assert pending(lake)["ingest"] == ["2026-11-03"]


def test_a_marked_key_that_is_held_or_blocked_is_left_to_a_person(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World(KEY), "ingest")
    put_mark(lake.storage, Partition("pairs", KEY), "after-2026-10-31", "2026-10-31 keeps other entries")
    hold(lake.storage, Partition("pairs", KEY), "a wrong list")
    assert pending(lake)["ingest"] == []
    release_hold(lake.storage, Partition("pairs", KEY))
    assert pending(lake)["ingest"] == [KEY]
    with pytest.raises(BadData):
        checked(run_of(lake, "ingest", first_twice))
    assert pending(lake)["ingest"] == []
    accept_run(lake, "ingest", KEY, "a small site")
    assert pending(lake)["ingest"] == [KEY]


def test_images_and_captions_that_are_held_are_left_to_a_person(lake: Lake) -> None:
    (first, *_), fused = pass_specs("kale"), step_spec("fuse", "kale")
    commit(lake, World(KEY, pairs=60), "ingest", each(dup_count=2))
    hold(lake.storage, Partition("images", KEY), "a better fetch")
    assert pending(lake)["images"] == []
    release_hold(lake.storage, Partition("images", KEY))
    assert pending(lake)["images"] == [KEY]
    commit(lake, World(KEY, pairs=60), "images", each(sha256_matches=True))
    for spec in (first, fused):
        hold(lake.storage, spec.partition(KEY), "better captions")
        assert pending(lake)["stage1"] == []
        release_hold(lake.storage, spec.partition(KEY))
        assert pending(lake)["stage1"] == [KEY]


def test_a_hold_or_block_of_one_stage_leaves_the_other_pending(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kale_tasks.pending.promoted", lambda *_: SimpleNamespace(version="1"))
    hold(lake.storage, step_spec("fuse", "kale").partition(KEY), "better captions")
    assert pending(lake)["stage2"] == [KEY]
    hold(lake.storage, step_spec("student", "kale").partition(KEY), "better captions")
    assert pending(lake)["stage2"] == []


def test_captions_of_a_pass_that_is_held_at_its_current_run_are_pending(tmp_path: Path) -> None:
    with serving(reply=lambda body: completion("A small red tower is at the left.")) as server:
        served = [f"caption.endpoints.models.{name}=[{server.url}]" for name in ("vlm", "llm")]
        own, settings = lake_of([f"warehouse={tmp_path}", *COMMON, "caption.engine=openai", *served])
        give(own, settings, pairs(8), KEY)
        run_step("dense", own, settings, KEY)
    hold(own.storage, find_spec("dense", settings).partition(KEY), "a better seed")
    assert pending_work(own, settings)["recipes"]["demo"]["stage1"] == [KEY]
    other = settings.with_values({"parts": {"part_rows": 7}})
    assert pending_work(own, other)["recipes"]["demo"]["stage1"] == []


def test_captions_of_a_student_are_pending_when_their_images_are_replaced(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kale_tasks.pending.promoted", lambda *_: SimpleNamespace(version="1"))
    assert pending(lake)["stage2"] == [KEY]
    commit(lake, World(KEY, pairs=60), "student")
    assert pending(lake)["stage2"] == []
    commit(lake, World(KEY, pairs=60), "images", each(sha256_matches=True))
    assert pending(lake)["stage2"] == [KEY]
