"""`kale run holdout` captions the images that no model is trained on, twice; students are judged by these captions."""

from functools import partial

import pytest

from kale_tasks.captions.steps import holdout_specs, pass_specs, sampled_specs
from kale_tasks.cli.run import check_run
from kale_tasks.contract.registry import step_spec
from kale_tasks.distill.holdout import captions_again, judged_examples
from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadConfig
from kale_tasks.lake.hashing import in_share
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.files import recipe_path
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.release.choice import choose
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from tests.captions.world import KEY, give, pairs
from tests.distill import small


@pytest.fixture(scope="module")
def captioned(tmp_path_factory, base):
    """A lake in which stage 1 and the holdout are captioned by the tiny models."""
    overrides = small.small_overrides(tmp_path_factory.mktemp("holdout"), base)
    settings = load(environ={}, overrides=[*overrides, "parts.part_rows=50"]).settings
    lake = Lake(settings)
    give(lake, settings, pairs(40))
    for spec in [*pass_specs("demo"), step_spec("fuse", "demo"), *holdout_specs("demo")]:
        run = Run(spec.load(), lake, settings, KEY)
        execute(run, partial(check_run, run))
    return lake


def uids(lake, recipe):
    return {row["uid"] for row in lake.arrow("captions", KEY, ["uid"], slice_={"recipe": recipe}).to_pylist()}


def test_the_holdout_is_captioned_and_nothing_else(captioned):
    held = {pair.uid for pair in pairs(40) if pair.split == "holdout"}
    assert held and uids(captioned, "demo@holdout") == held == uids(captioned, "demo@again")
    assert not held & uids(captioned, "demo")


def test_the_second_captions_are_drawn_with_another_seed():
    for name in ("dense", "fused"):
        first, again = (load_recipe(of).task(name).sampling for of in ("demo@holdout", "demo@again"))
        assert first == load_recipe("demo").task(name).sampling
        assert first.seed != again.seed and again.temperature > first.temperature == 0
    specs = [spec.name for spec in holdout_specs("demo") if spec.name != "fuse"]
    assert len(set(specs)) == len(specs) == 2 * len(pass_specs("demo"))
    assert not set(specs) & {spec.name for spec in pass_specs("demo")}


def test_a_student_is_judged_by_the_holdout_first(captioned, processor):
    run = Run(Distill("demo"), captioned, captioned.settings, KEY)
    found = [example.sample.uid for example in judged_examples(run, processor)]
    held = uids(captioned, "demo@holdout")
    assert len(found) == len(set(found)) == captioned.settings.distill.gate.rows
    assert set(found[: len(held)]) == held and set(found[len(held) :]) <= uids(captioned, "demo")
    assert captions_again(run).keys() == held


def test_the_teacher_captions_a_share_of_stage_2_and_nothing_else(captioned, tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(recipe_path("demo").read_text().replace("  lessons:", "  sampled: 0.5\n  lessons:"))
    settings = captioned.settings.with_values({"caption": {"recipe": str(path)}})
    for spec in sampled_specs(str(path)):
        run = Run(spec.load(), captioned, settings, KEY)
        execute(run, partial(check_run, run))
    stage2 = {pair.uid for pair in pairs(40) if pair.split == "stage2"}
    found = uids(captioned, "demo@sampled")
    assert found == {uid for uid in stage2 if in_share(f"sampled {uid}", 0.5)} and 0 < len(found) < len(stage2)
    with pytest.raises(BadConfig, match=r"no student\.sampled"):
        sampled_specs("demo")


def test_captions_of_the_holdout_are_never_released(captioned):
    opened = {p: Snapshot.open(captioned, p) for p in captioned.partitions("captions")}
    assert {p.columns["recipe"] for p in opened} >= {"demo", "demo@holdout", "demo@again"}
    assert {p.columns["recipe"] for p in choose(captioned, {"demo"}, KEY, opened).captions} == {"demo"}


def test_an_unknown_variant_is_a_mistake_with_the_names_of_the_others():
    with pytest.raises(BadConfig, match=r"demo@holdout, demo@again"):
        load_recipe("demo@twice")
