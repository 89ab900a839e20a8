"""Two processes train one model together, and every engine can serve what they saved."""

import pytest
from safetensors.torch import load_file

from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan
from kale_tasks.world.draw import SIDE
from tests.distill import small
from tests.distill.serving import answers
from tests.distill.test_train import run_of


@pytest.fixture(scope="module")
def shared(base, tmp_path_factory):
    """A lake with a student that two processes have trained."""
    lake = Lake(small.small_settings(tmp_path_factory.mktemp("shared"), base, processes=2))
    small.commit_captions(lake, small.KEY, 60)
    with pytest.raises(BadData, match="not promoted"):
        execute(Run(Distill("demo"), lake, lake.settings, small.KEY))
    return lake


@pytest.mark.nightly
def test_two_processes_train_the_same_model_as_one(shared, lake):
    run_training(alone := run_of(lake))
    curve = newest_state(lake.storage, checkpoint_folder(alone.folder)).curve
    (student,) = students.versions(shared)
    assert [loss for _, loss in student.metrics["curve"]] == pytest.approx([loss for _, loss in curve], rel=1e-3)
    weights = load_file(students.local_copy(shared, student.version) / "model.safetensors")
    assert any(name.startswith("vision_tower.vision_model.") for name in weights)


@pytest.mark.nightly
def test_vllm_and_transformers_generate_the_same_captions_with_the_student(shared):
    found = answers(shared, "vllm", (SIDE, SIDE))
    assert found == answers(shared, "transformers", (SIDE, SIDE)) and all(found.values())


@pytest.mark.nightly
def test_an_error_in_one_process_keeps_its_class(lake):
    run = run_of(lake, processes=2, steps=12, connector_steps=0, rate=1e30)
    plan(run)
    with pytest.raises(BadData, match="loss"):
        run_training(run)


def test_forward_passes_must_divide_among_the_processes(lake):
    with pytest.raises(BadConfig, match="multiple"):
        run_training(run_of(lake, processes=2, accumulate=3))
