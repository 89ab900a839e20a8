"""The gate judges what the engine of stage 2 writes when it is asked as in stage 2."""

import pytest

from kale_tasks.captions.student import Student
from kale_tasks.distill.dataset import CaptionDataset
from kale_tasks.distill.evaluate import caption_samples, judging_engine
from kale_tasks.distill.step import Distill
from kale_tasks.engines.base import ENGINES, IMAGE_BROKEN, TIMEOUT, Model
from kale_tasks.errors import BadConfig
from kale_tasks.models import students
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan
from tests.distill import small
from tests.distill.recording import RecordingEngine
from tests.distill.test_step import LAX, settings_of

OTHER = "2026-12-01"


def with_engine(settings, name):
    return settings.model_copy(update={"caption": settings.caption.model_copy(update={"engine": name})})


@pytest.fixture
def recording(monkeypatch):
    monkeypatch.setitem(ENGINES._built_in, "recording", "tests.distill.recording:RecordingEngine")
    monkeypatch.setattr(RecordingEngine, "asked", [])
    return RecordingEngine


def commit_for_stage_2(lake):
    """Commit the images and alt-texts of the captions again, as a key of stage 2."""
    images = [
        {**row, "key": OTHER, "split": "stage2"}
        for row in lake.arrow("images", small.KEY).drop_columns("split").to_pylist()
    ]
    pairs = [
        {"uid": row["uid"], "key": OTHER, "url": "http://example.com", "alt_text": row["alt_text"], "split": "stage2"}
        for row in lake.arrow("captions", small.KEY).to_pylist()
    ]
    for table, rows in (("images", images), ("pairs", pairs)):
        rows.sort(key=lambda row: row["uid"])
        execute(Run(small.CommitRows(table, table, {}, rows), lake, lake.settings, OTHER))


def test_the_gate_judges_what_the_engine_of_stage_2_answers_to_what_stage_2_asks(lake, recording):
    settings = with_engine(settings_of(lake, **LAX), "recording")
    execute(Run(Distill("demo"), lake, settings, small.KEY))
    judged = list(recording.asked)
    (student,) = students.versions(lake)
    assert [one["text"] for one in student.metrics["samples"]] == [f"A caption of image {one.id}." for one in judged]
    assert student.metrics["engine"] == "recording"
    commit_for_stage_2(lake)
    execute(Run(Student("demo"), lake, settings, OTHER))
    asked = {one.image: one for one in recording.asked[len(judged) :]}
    assert len(judged) == settings.distill.gate.rows
    for one in judged:
        same = asked[one.image]
        assert (one.messages, one.temperature, one.seed) == (same.messages, same.temperature, same.seed)


def test_a_broken_image_is_left_out_and_any_other_failure_is_an_empty_caption(captioned, recording, monkeypatch):
    samples = list(CaptionDataset.open(captioned, "demo", [small.KEY]).read(0))[:4]
    monkeypatch.setattr(recording, "reasons", {1: IMAGE_BROKEN, 2: TIMEOUT})
    model = Model("student", load_recipe("demo").task("student"), lambda: None)
    found = caption_samples(captioned, with_engine(captioned.settings, "recording").caption, model, samples)
    assert [one.sample for one in found] == [samples[0], *samples[2:]]
    assert [one.text for one in found] == ["A caption of image 0.", "", "A caption of image 3."]


def test_a_student_that_no_server_has_yet_is_judged_on_this_machine(captioned):
    engines = {name: judging_engine(with_engine(captioned.settings, name).caption) for name in ENGINES.names}
    assert engines == {
        "transformers": "transformers", "vllm": "vllm", "openai": "transformers", "batch": "transformers",
    }  # fmt: skip


def test_an_unknown_engine_fails_the_plan(lake):
    with pytest.raises(BadConfig, match="no engine 'magic'"):
        plan(Run(Distill("demo"), lake, with_engine(lake.settings, "magic"), small.KEY))
