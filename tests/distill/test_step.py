"""The step registers every student and promotes only those that earned it."""

import pytest

from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.runner.run import Run, execute
from tests.distill import school

LAX = {"facts_carried": 0, "facts_invented": 1, "description": 0}


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


def run(lake, key=school.KEY, **gate):
    return execute(Run(Distill(), lake, settings_of(lake, **gate), key))


def test_a_student_that_is_not_good_enough_is_refused_and_registered(lake):
    for _ in range(2):  # the second run finds it committed, and is as red
        with pytest.raises(BadData, match=r"not promoted\. Too far off: facts carried 0\.000 of"):
            run(lake)
    (student,) = registry.versions(lake)
    assert not student.accepted and "Too far off" in student.verdict
    assert registry.promoted(lake) is None
    assert lake.committed("models", school.KEY).rows == 1


def test_a_student_that_passes_is_promoted_once_and_what_people_decide_stands(lake):
    run(lake, **LAX)
    (first,) = registry.versions(lake)
    assert registry.promoted(lake).version == first.version
    captions = lake.committed("captions", school.KEY, {"stage": 1})
    assert first.metrics["in_use"] is None and first.parents == {school.KEY: captions.content}
    assert (registry.local_copy(lake, first.version) / "README.md").read_text().count("held-out captions") == 1
    run(lake, **LAX)
    assert len(registry.history(lake)) == 1


def test_a_student_no_better_than_the_one_in_use_stays_out(lake):
    run(lake, **LAX)
    with pytest.raises(BadData, match="of the student in use wanted"):
        run(lake, **{**LAX, "batch": 3, "rows": 5})
    first = registry.promoted(lake)
    assert len(registry.history(lake)) == 1
    assert {s.metrics["predecessor"] for s in registry.versions(lake)} <= {None, first.version}


def test_a_promotion_in_the_meantime_is_a_conflict(lake):
    run(lake, **LAX)
    (student,) = registry.versions(lake)
    with pytest.raises(Conflict, match="judged against"):
        registry.succeed(lake, "0" * 16, "?", predecessor=None)
    assert registry.promoted(lake).version == student.version


def test_new_captions_make_a_new_run_and_the_same_ones_do_not(lake):
    settings = settings_of(lake)
    before = Run(Distill(), lake, settings, school.KEY).fingerprint
    assert before == Run(Distill(), lake, settings, school.KEY).fingerprint
    school.teach(lake, "2026-10-01", 5)
    assert before != Run(Distill(), lake, settings, school.KEY).fingerprint
    later = Run(Distill(), lake, settings, school.KEY)
    school.teach(lake, "2027-01-01", 5)
    assert later.fingerprint == Run(Distill(), lake, settings, school.KEY).fingerprint


def test_without_captions_there_is_nothing_to_learn(tmp_path, base):
    lake = Lake(school.small_settings(tmp_path, base))
    with pytest.raises(Conflict, match="no stage-1 captions"):
        Run(Distill(), lake, lake.settings, school.KEY)
