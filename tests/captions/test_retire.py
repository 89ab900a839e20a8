"""Texts of passes that no recipe has any more leave their table, but not while anything is made of them."""

from datetime import timedelta
from pathlib import Path

from kale_tasks.captions.retire import retire
from kale_tasks.captions.steps import pass_specs
from kale_tasks.lake.holds import hold, release_hold
from kale_tasks.lake.maintain import Grace, delete, expire, orphans
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.verbs import plan
from kale_tasks.settings import Settings
from tests.captions.conftest import Opener
from tests.captions.test_passes import CALL, DENSE, Lab, answer, recipe
from tests.captions.world import KEY, opened_run, pairs, run_step
from tests.engines.server import serving

NOW = timedelta(seconds=-5)
SHORT = {"name": "short", "ask": "vlm", "user": "Shorten: {dense}", **CALL}
CHANGED = {**DENSE, "user": "Describe the picture."}


def of_recipe(lab: Lab, path: Path) -> Settings:
    return lab.settings.with_values({"caption": {"recipe": str(path)}})


def ids(path: Path) -> set[str]:
    return {spec.name for spec in pass_specs(str(path))}


def stored(lake: Lake) -> set[str]:
    return {str(partition.columns["pass"]) for partition in lake.partitions("texts")}


def retired(lab: Lab, path: Path, grace: timedelta = NOW) -> set[str]:
    found = retire(lab.lake, of_recipe(lab, path), grace)
    assert all(partition.key == KEY for partition in found)
    return {str(partition.columns["pass"]) for partition in found}


def test_replaced_passes_go_once_no_captions_are_made_of_them(opened: Opener, tmp_path: Path) -> None:
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(12))
        path = recipe(tmp_path, "mine", DENSE, SHORT)
        old = ids(path)
        lab.run(path)
        recipe(tmp_path, "mine", CHANGED, SHORT)
        new = ids(path)
        assert not old & new
        assert retired(lab, path) == set(), "the captions are still the old ones, made of `short`, made of `dense`"
        lab.run(path)
    assert stored(lab.lake) == old | new
    assert retired(lab, path, timedelta(days=14)) == set(), "the grace begins when they were replaced"
    assert {p.columns["pass"] for p in retire(lab.lake, of_recipe(lab, path), NOW, dry_run=True)} == old
    assert stored(lab.lake) == old | new
    assert retired(lab, path) == old
    assert stored(lab.lake) == new
    assert {str(row["pass"]) for row in lab.lake.arrow("texts", KEY).to_pylist()} == new
    assert retired(lab, path) == set()

    kept = lab.lake.arrow("texts", KEY).num_rows
    expire(lab.lake, NOW)
    unused = list(orphans(lab.lake, Grace(NOW, NOW)))
    assert delete(lab.lake, unused, Grace(NOW, NOW)) >= len(old)
    assert not [entry for entry in unused if lab.lake.storage.exists(entry.path)]
    assert lab.lake.arrow("texts", KEY).num_rows == kept
    assert lab.run(path).total() == 0


def test_passes_of_other_recipes_that_have_captions_stay(opened: Opener, tmp_path: Path) -> None:
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(12))
        arm, mine = recipe(tmp_path, "arm", DENSE, SHORT), recipe(tmp_path, "mine", CHANGED, SHORT)
        lab.run(arm)
        lab.run(mine)
        assert retired(lab, mine) == set()


def test_passes_stay_that_a_planned_run_reads_or_a_person_holds(opened: Opener, tmp_path: Path) -> None:
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(12))
        arm, mine = recipe(tmp_path, "arm", DENSE, SHORT), recipe(tmp_path, "mine", CHANGED)
        of_arm = of_recipe(lab, arm)
        dense = pass_specs(str(arm))[0]
        lab.run(mine)
        run_step("dense", lab.lake, of_arm)
        planned = opened_run("short", lab.lake, of_arm)
        plan(planned)
        assert retired(lab, mine) == set(), "a run of `short` is planned"
        lab.lake.storage.delete(f"{planned.folder}/plan.json")
        hold(lab.lake.storage, dense.partition(KEY), "compare")
        assert retired(lab, mine) == set()
        release_hold(lab.lake.storage, dense.partition(KEY))
        assert retired(lab, mine) == {dense.name}
