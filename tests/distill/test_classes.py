"""Models of the classes of production are sharded over two processes, resumed by one, and served."""

from contextlib import suppress

import pytest

from kale_tasks.bench.checkpoint import make_checkpoint
from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.model import language_of, load, vision_of
from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadData, Transient
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan
from tests.distill import small
from tests.distill.serving import answers

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
TRAIN = {"steps": 6, "connector_steps": 0, "rate": 2e-3, "checkpoint_steps": 3, "vision": True}
CLASSES = {  # of vision tower and language model
    "student": ["SiglipVisionModel", "Qwen3Model"],
    "existing": ["Qwen3VLVisionModel", "Qwen3VLTextModel"],
    "low-rank": ["Qwen3VLVisionModel", "Qwen3VLTextModel"],
}


@pytest.fixture(scope="module")
def texts():
    """What the vocabulary is learned from."""
    prompt = load_recipe("demo").task("student").prompt
    return [prompt.system, prompt.user, "A large red cup named Ubuna is at the left. The background is plain white."]


@pytest.fixture(scope="module", params=CLASSES)
def model(request, texts, tmp_path_factory):
    """The name of a kind of model, and the settings that name a tiny one with random weights."""
    folder = tmp_path_factory.mktemp("model")
    if request.param == "student":
        return request.param, {"base": "", **parts(folder, texts)}
    base = str(make_checkpoint("qwen3_vl", folder, texts))
    return request.param, {"base": base, "train": {"rank": 8 if request.param == "low-rank" else 0}}


def parts(folder, texts):
    from transformers import SiglipVisionConfig, SiglipVisionModel

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=64, patch_size=16)).save_pretrained(folder / "vision")
    return {"vision": str(folder / "vision"), "llm": str(make_checkpoint("qwen3", folder / "llm", texts))}


def run_of(folder, model, **train):
    """A run on a lake of its own."""
    _, named = model
    distill = {**named, "train": {**TRAIN, **named.get("train", {}), **train}}
    settings = small.small_settings(folder, folder).with_values({"distill": distill})
    lake = Lake(settings)
    if not lake.partitions("captions"):
        small.commit_captions(lake, small.KEY, 60)
    return Run(Distill("demo"), lake, settings, small.KEY)


def curve(run):
    return newest_state(run.lake.storage, checkpoint_folder(run.folder)).curve


@pytest.fixture(scope="module")
def resumed(model, tmp_path_factory):
    """The run of a training that two processes began and one ended, and the files of their last checkpoint."""
    folder = tmp_path_factory.mktemp("resumed")
    both = run_of(folder, model, processes=2)
    hurried = both.settings.with_values({"schedule": {"task_hours": 1e-9}})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Transient, match="step 3 is saved"):
        patch.setenv("KALE_TASK", "kale_distill manual__1 distill -1")
        plan(first := Run(Distill("demo"), both.lake, hurried, small.KEY))
        run_training(first)
    entries = list(both.lake.storage.entries(checkpoint_folder(both.folder)))
    run_training(run := run_of(folder, model))
    return run, [entry.size for entry in entries if entry.path.endswith(".tensors")]


def test_each_process_saves_its_half_and_one_goes_on_as_if_it_had_been_alone(model, resumed, tmp_path):
    run, sizes = resumed
    assert len(sizes) == 2 and max(sizes) < 1.2 * min(sizes)
    run_training(alone := run_of(tmp_path, model))
    assert [loss for _, loss in curve(run)] == pytest.approx([loss for _, loss in curve(alone)], rel=1e-3)


def test_vllm_serves_the_student_with_the_answers_of_transformers(model, resumed):
    run, _ = resumed
    with suppress(BadData):  # it is registered, whatever the gate says
        execute(run)
    (student,) = students.versions(run.lake)
    saved, _ = load(students.local_copy(run.lake, student.version))
    assert [type(of(saved)).__name__ for of in (vision_of, language_of)] == CLASSES[model[0]]
    # Pictures for a student have the size of its tower: the two libraries scale others differently.
    size = (64, 64) if model[0] == "student" else (300, 200)
    found = answers(run.lake, "vllm", size)
    assert found == answers(run.lake, "transformers", size) and all(found.values())
