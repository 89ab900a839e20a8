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
from kale_tasks.quality.sampled import _Sample
from kale_tasks.quality.suite import Subject
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.quality.defects import Spoil, each
from tests.quality.world import Rows, World, commit, commit_all, commit_student, given, open_world

KEY, PAIRS = "2026-11-01", 60
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
    """A lake with captions of stage 1, the figures of a student's gate, and its teacher's captions of stage 2."""
    made, world = open_world(tmp_path_factory.mktemp("sampled")), World(KEY, pairs=PAIRS)
    commit_all(made, world, "fuse")
    commit_student(made, metrics=json.dumps({"student": at_gate()}))
    theirs = given(made, world, "student", each(recipe="kale@sampled", stage=1, dense_caption=lambda r: r["caption"]))
    theirs.name, theirs.slice = "fuse", {"recipe": "kale@sampled", "stage": 1}
    execute(Run(cast("Step", theirs), made, made.settings, KEY))
    return made


def at_gate() -> dict[str, Any]:
    """The figures of a student with words of its own on other images."""
    rows = World("gate", seed=7, pairs=PAIRS).stage2
    samples = [_Sample(row["uid"], row["alt_text"], row["caption"], row["caption"]) for row in rows]
    return asdict(caption_metrics(measure([reworded(row) for row in rows], samples, Wording(), {}), 1.0))


def found(lake: Lake, spoil: Spoil) -> dict[str, Any]:
    commit(lake, World(KEY, pairs=PAIRS), "student", spoil)
    result = examine(Subject.of_committed(lake, lake.settings, "student", KEY))
    return {one.name: one for one in result.checks if one.name in DRIFTS}


def test_a_student_that_words_captions_as_at_its_gate_passes(lake: Lake) -> None:
    checks = found(lake, each(caption=reworded))
    assert {name: one.status for name, one in checks.items()} == dict.fromkeys(DRIFTS, "passed")
    assert all(one.seen is not None and one.high == lake.settings.quality.limits.student_gap for one in checks.values())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_student_that_has_become_worse_fails_with_what_was_seen_and_wanted(lake: Lake, damage: str) -> None:
    spoil, name = DAMAGES[damage]
    one = found(lake, spoil)[name]
    assert (one.status, one.severity) == ("failed", "critical") and one.seen > one.high > 0


def test_images_that_have_changed_since_are_not_compared(lake: Lake) -> None:
    def others(rows: Rows) -> Rows:
        return each(caption=other_colours, sha256="0" * 64)(rows)

    assert {one.status for one in found(lake, others).values()} == {"skipped"}


def test_without_a_sample_or_figures_of_the_gate_the_checks_are_skipped(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit_all(lake, World(KEY, pairs=PAIRS), "fuse")
    commit_student(lake)
    assert {one.status for one in found(lake, each(caption=reworded)).values()} == {"skipped"}
