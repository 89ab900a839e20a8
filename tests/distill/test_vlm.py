"""An existing vision-language model is trained in full or by low-rank updates, and served like any student."""

import pytest
from safetensors.torch import load_file

from kale_tasks.bench.checkpoint import make_checkpoint
from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.model import choose_trained, load, load_base
from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadConfig
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.distill import small
from tests.distill.serving import answers
from tests.distill.test_step import LAX, settings_of

pytestmark = pytest.mark.nightly
TRAIN = {
    "steps": 12,
    "connector_steps": 0,
    "rate": 5e-3,
    "batch": 4,
    "accumulate": 1,
    "checkpoint_steps": 6,
    "vision": True,
}


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    """A tiny Qwen3-VL with random weights and a vocabulary of the captions."""
    folder, prompt = tmp_path_factory.mktemp("qwen3_vl"), load_recipe("demo").task("student").prompt
    captions = small.commit_captions(Lake(small.small_settings(folder, folder)), small.KEY, 60)
    texts = [prompt.system, prompt.user, *(row["caption"] for row in captions)]
    return make_checkpoint("qwen3_vl", folder / "model", texts)


@pytest.fixture(scope="module", params=[0, 8], ids=["full", "low-rank"])
def trained(request, vlm, tmp_path_factory):
    """A lake with a student that was trained in full or by updates of this rank."""
    folder = tmp_path_factory.mktemp("vlm")
    lake = Lake(small.small_settings(folder, vlm, **TRAIN, rank=request.param))
    small.commit_captions(lake, small.KEY, 60)
    settings = settings_of(lake, **LAX).with_values({"distill": {"train": TRAIN}})
    run = Run(Distill("demo"), lake, settings, small.KEY)
    run_training(run)
    losses = [loss for _, loss in newest_state(lake.storage, checkpoint_folder(run.folder)).curve]
    execute(run)
    return lake, losses, request.param


def student_of(lake):
    (student,) = students.versions(lake)
    return student, students.local_copy(lake, student.version)


def test_the_loss_falls(trained):
    _, losses, rank = trained
    most = 0.95 if rank else 0.8  # updates of so few weights learn more slowly at the same rate
    assert len(losses) == 12 and sum(losses[-3:]) < most * sum(losses[:3])


def test_the_student_is_saved_as_a_model_of_its_class_without_updates_beside_it(trained, vlm):
    lake, _, rank = trained
    _, folder = student_of(lake)
    before, after = (load_file(path / "model.safetensors") for path in (vlm, folder))
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any("language_model" in name for name in changed)
    assert any("visual" in name for name in changed) == (rank == 0)
    assert type(load(folder)[0]).__name__ == "Qwen3VLForConditionalGeneration"


def test_it_was_judged_by_the_engine_of_stage_2(trained):
    lake, _, _ = trained
    student, _ = student_of(lake)
    assert student.metrics["engine"] == "transformers" and student.metrics["student"]["rows"] == 6
    assert all(one["text"] for one in student.metrics["samples"]) and student.metrics["student"]["bits"] > 0


def test_updates_begin_without_effect_and_are_all_that_is_trained(vlm, tmp_path):
    distill = small.small_settings(tmp_path, vlm, **TRAIN, rank=8).distill
    model, _ = load_base(distill)
    choose_trained(model, connector_only=False, vision=True)
    assert {name.rpartition(".")[2] for name, one in model.named_parameters() if one.requires_grad} == {
        "low_rank_in", "low_rank_out",
    }  # fmt: skip
    assert not any(one.any() for name, one in model.named_parameters() if name.endswith("low_rank_out"))


def test_a_connector_of_its_own_is_not_expected(vlm, tmp_path):
    model, _ = load_base(small.small_settings(tmp_path, vlm).distill)
    with pytest.raises(BadConfig, match=r"connector_steps=0"):
        choose_trained(model, connector_only=True, vision=True)


def test_vllm_serves_it_with_the_same_answers(trained):
    lake, _, _ = trained
    found = answers(lake, "vllm")
    assert found == answers(lake, "transformers") and all(found.values())
