"""The step registers every student and promotes only those that pass the promotion gate."""

import pytest

from kale_tasks.distill.dataset import caption_keys
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import example_sampler
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.distill import small

LAX = {"facts_carried": 0, "facts_invented": 1, "attributes_wrong": 1, "description": -9, "repetition": 1, "cut_off": 1}


def settings_of(lake, **gate):
    distill = lake.settings.distill
    return lake.settings.model_copy(
        update={
            "distill": distill.model_copy(
                update={
                    "gate": distill.gate.model_copy(update=gate),
                    "train": distill.train.model_copy(update={"steps": 2, "connector_steps": 1}),
                }
            )
        }
    )


def run(lake, key=small.KEY, **gate):
    return execute(Run(Distill("demo"), lake, settings_of(lake, **gate), key))


def test_a_refused_student_is_registered_and_not_promoted(lake):
    for _ in range(2):  # the second run finds it committed and fails as well
        with pytest.raises(BadData, match=r"not promoted\. Refused\. facts carried: 0\.000 of"):
            run(lake)
    (student,) = students.versions(lake)
    assert not student.accepted and student.verdict.startswith("Refused.")
    assert students.promoted(lake, "demo") is None
    assert lake.committed("models", small.KEY, {"recipe": "demo"}).rows == 1


def test_an_accepted_student_is_promoted_once(lake):
    run(lake, **LAX)
    (first,) = students.versions(lake)
    assert students.promoted(lake, "demo").version == first.version
    captions = lake.committed("captions", small.KEY, {"recipe": "demo", "stage": 1})
    assert first.metrics["in_use"] is None and first.parents == {small.KEY: captions.content}
    assert (students.local_copy(lake, first.version) / "README.md").read_text().count("held-out captions") == 1
    run(lake, **LAX)
    assert len(students.history(lake, "demo")) == 1


@pytest.mark.nightly
def test_one_seed_gives_the_same_bytes_of_weights_and_another_seed_gives_others(lake, base, tmp_path):
    def weights(name, **train):
        other = Lake(small.small_settings(tmp_path / name, base, **train))
        small.commit_captions(other, small.KEY, 60)
        run(other, **LAX)
        return students.versions(other)[0].files["model.safetensors"]

    run(lake, **LAX)
    assert weights("again") == students.versions(lake)[0].files["model.safetensors"] != weights("other", seed=7)


def test_a_student_no_better_than_the_one_in_use_is_not_promoted(lake):
    run(lake, **LAX)
    with pytest.raises(BadData, match="that of the student in use"):
        run(lake, **{**LAX, "batch": 3, "rows": 5})
    first = students.promoted(lake, "demo")
    assert len(students.history(lake, "demo")) == 1
    assert {s.metrics["predecessor"] for s in students.versions(lake)} <= {None, first.version}


def test_a_promotion_by_somebody_else_in_the_meantime_is_a_conflict(lake):
    run(lake, **LAX)
    (student,) = students.versions(lake)
    with pytest.raises(Conflict, match="promoted since"):
        students.succeed(lake, "demo", "0" * 16, "?", predecessor=None)
    assert students.promoted(lake, "demo").version == student.version


def test_new_captions_up_to_the_key_make_a_new_run_and_later_ones_do_not(lake):
    settings = settings_of(lake)
    before = Run(Distill("demo"), lake, settings, small.KEY).fingerprint
    assert before == Run(Distill("demo"), lake, settings, small.KEY).fingerprint
    small.commit_captions(lake, "2026-10-01", 5)
    assert before != Run(Distill("demo"), lake, settings, small.KEY).fingerprint
    later = Run(Distill("demo"), lake, settings, small.KEY)
    small.commit_captions(lake, "2027-01-01", 5)
    assert later.fingerprint == Run(Distill("demo"), lake, settings, small.KEY).fingerprint


def test_without_captions_a_run_is_a_conflict(tmp_path, base):
    lake = Lake(small.small_settings(tmp_path, base))
    with pytest.raises(Conflict, match="no stage-1 captions"):
        Run(Distill("demo"), lake, lake.settings, small.KEY)


def test_a_student_learns_only_from_the_keys_that_its_run_records(lake, processor):
    made = Run(Distill("demo"), lake, lake.settings, small.KEY)
    small.commit_captions(lake, "2026-10-31", 40)  # an earlier key that is committed after the run was planned
    examples = example_sampler(made, processor).held_out(100, 0.2)
    first = {row["uid"] for row in lake.arrow("captions", small.KEY, ["uid"]).to_pylist()}
    assert caption_keys(made.inputs) == [small.KEY]
    assert examples and {example.sample.uid for example in examples} <= first
