"""The training loop lowers the loss, and ends with a clear error when the loss shows that it cannot."""

import math

import pytest
import torch

from kale_tasks.distill.batches import TensorBatch
from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import freeze_unused, image_side
from kale_tasks.distill.model import load as load_model
from kale_tasks.distill.parallel import TrainingProcess
from kale_tasks.distill.sampler import StreamPosition
from kale_tasks.distill.schedule import Phase, phases, warm_up_cosine
from kale_tasks.distill.state import TrainingState
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import TaskClock, _Made, _next_state, _prepare
from kale_tasks.errors import BadData, Transient
from kale_tasks.progress import Silent
from kale_tasks.runner.run import Run
from kale_tasks.settings import load
from tests.distill import small

TRAIN = load(environ={}).settings.distill.train


def settings_of(lake, **train):
    distill = lake.settings.distill
    changed = distill.model_copy(update={"train": distill.train.model_copy(update=train)})
    return lake.settings.model_copy(update={"distill": changed})


def random_batch(model, processor, words):
    """Return two equal rows of image tokens and some words, and two black images."""
    config, side = model.config, image_side(processor)
    ids = torch.tensor([[config.image_token_index] * config.image_seq_length + list(range(10, 10 + words))] * 2)
    return ids, torch.zeros(2, 3, side, side, dtype=torch.uint8)


def run_of(lake, **train):
    return Run(Distill("demo"), lake, settings_of(lake, **train), small.KEY, progress=Silent())


def test_the_connector_is_trained_first_then_the_whole_model():
    assert phases(TRAIN.model_copy(update={"steps": 10, "connector_steps": 4})) == [
        Phase(0, 4, TRAIN.connector_rate, True),
        Phase(4, 10, TRAIN.rate, False),
    ]
    assert [p.connector_only for p in phases(TRAIN.model_copy(update={"steps": 3, "connector_steps": 9}))] == [True]
    assert [p.connector_only for p in phases(TRAIN.model_copy(update={"steps": 3, "connector_steps": 0}))] == [False]


def test_the_rate_rises_then_falls_to_a_hundredth():
    phase = Phase(100, 200, 2.0, False)
    rates = [phase.rate_at(step, 0.1) for step in range(100, 200)]
    assert rates.index(max(rates)) in (9, 10) and max(rates) == pytest.approx(2.0, rel=0.01)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.03
    assert phase.rate_at(100, 0.0) == pytest.approx(2.0)


def test_the_rate_is_one_after_the_warm_up_and_a_hundredth_at_the_end():
    rates = [warm_up_cosine(step, 100, 10) for step in range(101)]
    assert rates[9] == rates[10] == 1 and rates[100] == pytest.approx(0.01)
    assert rates[55] == pytest.approx(0.505)


def test_a_training_lowers_the_loss(lake):
    run = run_of(lake, steps=12, connector_steps=0, rate=5e-3, peak_tflops=1)
    run_training(run)
    assert any(b"train/mfu" in lake.storage.read(log.path) for log in lake.storage.entries(f"{run.folder}/tensorboard"))
    state = newest_state(lake.storage, checkpoint_folder(run.folder))
    assert state.step == 12 and state.curve[-1][1] < 0.9 * state.curve[0][1]
    assert run.meter.figures["train_tokens"] > 0


@pytest.mark.parametrize(("connector_only", "vision", "trained"), [
    (True, True, {"multi_modal_projector"}), (False, False, {"multi_modal_projector", "language_model"}),
    (False, True, {"multi_modal_projector", "language_model", "vision_tower"}),
])  # fmt: skip
def test_a_phase_trains_only_its_parts(base, connector_only, vision, trained):
    settings = TRAIN.model_copy(update={"vision": vision, "checkpointing": False})
    phase = Phase(0, 1, 1e-3, connector_only)
    module = _prepare(CaptionLoss(*load_model(base)), phase, settings, TrainingProcess(0, 1, torch.device("cpu")))
    inner = module.model.model.named_parameters()
    assert {name.partition(".")[0] for name, weight in inner if weight.requires_grad} == trained


@pytest.mark.nightly
def test_bfloat16_and_recomputed_activations_lower_the_loss_as_well(lake):
    run = run_of(lake, steps=6, connector_steps=2, rate=5e-3, dtype="bfloat16", checkpointing=True)
    run_training(run)
    curve = newest_state(lake.storage, checkpoint_folder(run.folder)).curve
    assert curve[-1][1] < curve[0][1]


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(lake):
    run = run_of(lake, steps=12, connector_steps=2, rate=1e30)
    with pytest.raises(BadData, match=r"loss .*last good checkpoint"):
        run_training(run)
    state = newest_state(lake.storage, checkpoint_folder(run.folder))
    assert state.step >= 2 and all(math.isfinite(loss) for _, loss in state.curve)


def test_a_loss_that_stays_high_ends_the_run_but_one_spike_does_not():
    batch = TensorBatch(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), StreamPosition(), 5)

    def after(state, loss):
        return _next_state(state, _Made(loss, 1.0, 1e-3, 0.0, 0.0, 1, batch), 3.0)

    state = after(TrainingState(), 1.0)
    spiked = after(state, 9.0)
    assert spiked.spikes == 1 and spiked.loss == 1.0
    assert after(spiked, 1.0).spikes == 0
    with pytest.raises(BadData, match="times its mean for 10 steps"):
        for _ in range(10):
            state = after(state, 9.0)


def test_weights_that_get_no_gradient_are_frozen(base):
    model, processor = load_model(base)
    model.config.vision_feature_layer = -2
    freeze_unused(model)
    module = CaptionLoss(model, processor)
    ids, pixels = random_batch(model, processor, words=3)
    module(ids, ids, pixels).backward()
    assert [name for name, weight in module.named_parameters() if weight.requires_grad and weight.grad is None] == []


def test_the_estimate_of_flops_is_close_to_those_counted(base):
    from torch.utils.flop_counter import FlopCounterMode

    model, processor = load_model(base)
    freeze_unused(model)
    module = CaptionLoss(model, processor)
    model.set_attn_implementation("eager")  # the counter does not see the other implementations
    ids, pixels = random_batch(model, processor, words=80)
    with FlopCounterMode(display=False) as counter:
        module(ids, ids, pixels).backward()
    assert module.flops(ids, ids) == pytest.approx(counter.get_total_flops(), rel=0.2)


def test_a_training_longer_than_a_task_goes_on_in_the_next_one(lake, monkeypatch):
    monkeypatch.setenv("KALE_TASK", "kale_distill manual__1 distill -1")
    settings = settings_of(lake, steps=8, connector_steps=3, checkpoint_steps=2)
    hurried = settings.model_copy(update={"schedule": settings.schedule.model_copy(update={"task_hours": 1e-9})})
    run, steps = Run(Distill("demo"), lake, hurried, small.KEY, progress=Silent()), []
    while not steps or steps[-1] < 6:
        with pytest.raises(Transient, match="the next try goes on"):
            run_training(run)
        steps.append(newest_state(lake.storage, checkpoint_folder(run.folder)).step)
    run_training(run)
    assert steps == [2, 3, 4, 6] and newest_state(lake.storage, checkpoint_folder(run.folder)).step == 8


def test_without_a_scheduler_a_training_has_all_the_time(lake, monkeypatch):
    monkeypatch.delenv("KALE_TASK", raising=False)
    assert not TaskClock(1e-9).is_over()
    monkeypatch.setenv("KALE_TASK", "kale_distill manual__1 distill -1")
    assert TaskClock(1e-9).is_over() and not TaskClock(1e9).is_over()
