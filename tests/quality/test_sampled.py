"""Captions of stage 2 are compared with those that the teacher wrote of a sample of their images."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from kale_tasks.contract.step import Step
from kale_tasks.lake.tables import Lake
from kale_tasks.likeness.metrics import caption_metrics, measure
from kale_tasks.likeness.wording import Wording
from kale_tasks.quality.check import examine
from kale_tasks.quality.sampled import _Sample, beside_sample, sample_limits
from kale_tasks.quality.suite import Subject
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.quality.defects import Spoil, each
from tests.quality.world import World, commit, commit_student, given, open_world

KEY, PAIRS = "2026-11-01", 60
WORLD = World(KEY, pairs=PAIRS)
DRIFTS = ("student_carried_drift", "student_attributes_drift", "student_likeness_drift")
COLOURS = ("red", "white", "grey", "green", "blue", "yellow", "brown", "black", "golden", "silver")


def reworded(row: dict[str, Any]) -> str:
    """The caption with its last sentence first, as a student may write it."""
    first, *rest = row["caption"].removesuffix(".").split(". ")
    return ". ".join([*rest, first]) + "."


def other_colours(row: dict[str, Any]) -> str:
    return " ".join("purple" if word in COLOURS else word for word in row["caption"].split(" "))


DAMAGES: dict[str, tuple[Spoil, str]] = {
    "names dropped": (each(caption=lambda r: r["caption"].partition(" This is")[0]), "student_carried_drift"),
    "wrong colours": (each(caption=other_colours), "student_attributes_drift"),
    "generic": (each(caption=lambda r: f"A picture of some thing, number {r['uid'][:4]}."), "student_likeness_drift"),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with the figures of a student's gate, and its teacher's captions of stage 2."""
    made = open_world(tmp_path_factory.mktemp("sampled"))
    commit_student(made, metrics=json.dumps({"student": at_gate()}))
    spoil = each(recipe="kale@sampled", stage=1, dense_caption=lambda row: row["caption"])
    theirs = given(made, WORLD, "student", spoil, built_on=[])
    theirs.name, theirs.slice = "fuse", {"recipe": "kale@sampled", "stage": 1}
    execute(Run(cast("Step", theirs), made, made.settings, KEY))
    return made


def at_gate() -> dict[str, Any]:
    """The figures of a student with words of its own on other images."""
    rows = World("gate", seed=7, pairs=PAIRS).stage2
    samples = [_Sample(row["uid"], row["alt_text"], row["caption"], row["caption"]) for row in rows]
    return asdict(caption_metrics(measure([reworded(row) for row in rows], samples, Wording(), {}), 1.0))


def written(lake: Lake, spoil: Spoil) -> Subject:
    """What the student wrote, in the lake."""
    commit(lake, WORLD, "student", spoil, built_on=[])
    return Subject.of_committed(lake, lake.settings, "student", KEY)


def test_a_student_that_words_captions_as_at_its_gate_passes_these_checks_of_its_suite(lake: Lake) -> None:
    checks = [one for one in examine(written(lake, each(caption=reworded))).checks if one.name in DRIFTS]
    assert {one.name: one.status for one in checks} == dict.fromkeys(DRIFTS, "passed")
    assert all(one.seen is not None and one.high == lake.settings.quality.limits.student_gap for one in checks)
    assert {one.severity for one in checks} == {"critical"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_student_that_has_become_worse_exceeds_the_limit_of_what_it_became_worse_at(lake: Lake, damage: str) -> None:
    spoil, name = DAMAGES[damage]
    subject = written(lake, spoil)
    high = next(one.high for one in sample_limits(subject) if one.name == name)
    seen = beside_sample(subject)[name]
    assert high is not None and seen is not None and seen > high > 0


def test_images_that_have_changed_since_are_not_compared(lake: Lake) -> None:
    others = each(caption=other_colours, sha256="0" * 64)
    assert beside_sample(written(lake, others)) == dict.fromkeys(DRIFTS)


def test_without_a_sample_or_figures_of_the_gate_nothing_is_known(tmp_path: Path) -> None:
    unsampled = open_world(tmp_path)
    commit_student(unsampled)
    assert beside_sample(written(unsampled, each(caption=reworded))) == dict.fromkeys(DRIFTS)
