"""Two processes train one model between them, and every engine serves what they saved."""

from pathlib import Path
from random import Random

import pytest
from safetensors.torch import load_file

from kale_tasks.distill.checkpoint import newest
from kale_tasks.distill.finalize import learn
from kale_tasks.distill.step import Distill, checkpoints
from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run, execute, plan
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.scene import make_scene
from tests.distill import school
from tests.distill.test_train import run_of

VLLM_PYTHON = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"  # `make vllm` builds it


@pytest.fixture(scope="module")
def shared(base, tmp_path_factory):
    """A lake with a student that two processes trained."""
    lake = Lake(school.small_settings(tmp_path_factory.mktemp("shared"), base, processes=2))
    school.teach(lake, school.KEY, 60)
    with pytest.raises(BadData, match="not promoted"):
        execute(Run(Distill(), lake, lake.settings, school.KEY))
    return lake


def test_two_processes_learn_what_one_does(shared, lake):
    learn(alone := run_of(lake))
    curve = newest(lake.storage, checkpoints(alone)).curve
    (student,) = registry.versions(shared)
    assert [loss for _, loss in student.metrics["curve"]] == pytest.approx([loss for _, loss in curve], rel=1e-3)
    weights = load_file(registry.local_copy(shared, student.version) / "model.safetensors")
    assert any(name.startswith("vision_tower.vision_model.") for name in weights)


def test_vllm_serves_what_they_saved_and_says_what_transformers_says(shared):
    (student,) = registry.versions(shared)
    task = load_recipe("demo").student
    task = task.model_copy(update={"sampling": task.sampling.model_copy(update={"max_tokens": 12})})
    folder = registry.local_copy(shared, student.version)
    model = Model(f"student@{student.version}", task, lambda: folder)
    by_engine = {}
    for engine in ("transformers", "vllm"):
        changes = {"engine": engine, "vllm_python": str(VLLM_PYTHON), "device": "cpu", "batch": 4}
        by_engine[engine] = said(open_engine(shared.settings.caption.model_copy(update=changes), model), task)
    assert by_engine["vllm"] == by_engine["transformers"]
    assert all(by_engine["vllm"].values())


def said(engine, task):
    with engine:
        engine.start()
        for number in range(4):
            image = jpeg(draw(make_scene(Random(number))))
            engine.submit(Request(number, task.prompt.messages(alt=f"Ubuna, {1800 + number}", image=True), image))
        answers = []
        while engine.pending:
            answers += engine.finished()
    assert not [answer.reason for answer in answers if answer.reason]
    return {answer.id: answer.text for answer in answers}


def test_an_error_in_one_process_keeps_its_kind(lake):
    run = run_of(lake, processes=2, steps=12, connector_steps=0, rate=1e30)
    plan(run)
    with pytest.raises(BadData, match="loss"):
        learn(run)


def test_passes_that_do_not_divide_among_processes_are_refused(lake):
    with pytest.raises(BadConfig, match="multiple"):
        learn(run_of(lake, processes=2, accumulate=3))
