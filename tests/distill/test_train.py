"""The training loop learns, and ends with a clear word when it must."""

import math

import pytest
import torch

from kale_tasks.distill.batches import Batch
from kale_tasks.distill.checkpoint import State, newest
from kale_tasks.distill.finalize import learn
from kale_tasks.distill.loss import Learner
from kale_tasks.distill.model import freeze_unused, side_of
from kale_tasks.distill.model import load as load_model
from kale_tasks.distill.parallel import Group
from kale_tasks.distill.sampler import Position
from kale_tasks.distill.step import Distill, checkpoints
from kale_tasks.distill.train import Phase, _prepared, _told, phases
from kale_tasks.errors import BadData
from kale_tasks.progress import Silent
from kale_tasks.runner.run import Run
from kale_tasks.settings import load
from tests.distill import school

TRAIN = load(environ={}).settings.distill.train


def settings_of(lake, **train):
    distill = lake.settings.distill
    changed = distill.model_copy(update={"train": distill.train.model_copy(update=train)})
    return lake.settings.model_copy(update={"distill": changed})


def lesson_for(model, processor, words):
    """Two lessons of a picture and some words."""
    config, side = model.config, side_of(processor)
    ids = torch.tensor([[config.image_token_index] * config.image_seq_length + list(range(10, 10 + words))] * 2)
    return ids, torch.zeros(2, 3, side, side, dtype=torch.uint8)


def run_of(lake, **train):
    return Run(Distill(), lake, settings_of(lake, **train), school.KEY, progress=Silent())


def test_the_connector_learns_first_then_all():
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


def test_a_training_learns(lake):
    run = run_of(lake, steps=12, connector_steps=0, rate=5e-3)
    learn(run)
    state = newest(lake.storage, checkpoints(run))
    assert state.step == 12 and state.curve[-1][1] < 0.9 * state.curve[0][1]
    assert run.meter.figures["train_tokens"] > 0


@pytest.mark.parametrize(("connector_only", "vision", "learns"), [
    (True, True, {"multi_modal_projector"}), (False, False, {"multi_modal_projector", "language_model"}),
    (False, True, {"multi_modal_projector", "language_model", "vision_tower"}),
])  # fmt: skip
def test_a_phase_teaches_what_it_should(base, connector_only, vision, learns):
    settings = TRAIN.model_copy(update={"vision": vision, "checkpointing": False})
    phase = Phase(0, 1, 1e-3, connector_only)
    learner = _prepared(Learner(*load_model(base)), phase, settings, Group(0, 1, torch.device("cpu")))
    inner = learner.model.model.named_parameters()
    assert {name.partition(".")[0] for name, weight in inner if weight.requires_grad} == learns


def test_half_precision_and_recomputed_activations_learn_as_well(lake):
    run = run_of(lake, steps=6, connector_steps=2, rate=5e-3, dtype="bfloat16", checkpointing=True)
    learn(run)
    curve = newest(lake.storage, checkpoints(run)).curve
    assert curve[-1][1] < curve[0][1]


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_checkpoint(lake):
    run = run_of(lake, steps=12, connector_steps=2, rate=1e30)
    with pytest.raises(BadData, match=r"loss .*last good checkpoint"):
        learn(run)
    state = newest(lake.storage, checkpoints(run))
    assert state.step >= 2 and all(math.isfinite(loss) for _, loss in state.curve)


def test_a_loss_that_stays_high_ends_the_run_but_one_spike_does_not():
    batch = Batch(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), Position(), 5)
    state = _told(State(), 1.0, batch, 3.0)
    spiked = _told(state, 9.0, batch, 3.0)
    assert spiked.spikes == 1 and spiked.loss == 1.0
    assert _told(spiked, 1.0, batch, 3.0).spikes == 0
    with pytest.raises(BadData, match="times its mean"):
        for _ in range(10):
            state = _told(state, 9.0, batch, 3.0)


def test_weights_that_never_get_a_gradient_are_frozen(base):
    model, processor = load_model(base)
    model.config.vision_feature_layer = -2
    freeze_unused(model)
    learner = Learner(model, processor)
    ids, pixels = lesson_for(model, processor, words=3)
    learner(ids, ids, pixels).backward()
    assert [name for name, weight in learner.named_parameters() if weight.requires_grad and weight.grad is None] == []


def test_the_arithmetic_of_a_step_is_counted_right(base):
    from torch.utils.flop_counter import FlopCounterMode

    model, processor = load_model(base)
    freeze_unused(model)
    learner = Learner(model, processor)
    model.set_attn_implementation("eager")  # the other kinds are not seen by the counter
    ids, pixels = lesson_for(model, processor, words=80)
    with FlopCounterMode(display=False) as counter:
        learner(ids, ids, pixels).backward()
    assert learner.flops(ids, ids) == pytest.approx(counter.get_total_flops(), rel=0.2)
