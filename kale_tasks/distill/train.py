"""The training loop: first the connector alone, then the whole model; killed at any moment, it goes on as if not."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from kale_tasks.distill import checkpoint as resume
from kale_tasks.distill.batches import Batch, Pictures, batches
from kale_tasks.distill.checkpoint import State
from kale_tasks.distill.dataset import Source, taught_keys
from kale_tasks.distill.log import Log
from kale_tasks.distill.loss import Learner
from kale_tasks.distill.model import freeze_unused, load_base, side_of
from kale_tasks.distill.parallel import Group, spread_weights
from kale_tasks.distill.sampler import Stream
from kale_tasks.distill.step import checkpoints
from kale_tasks.distill.tokenization import Wording
from kale_tasks.errors import BadData
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.settings.distill import Train

_PATIENCE = 10  # steps in a row with a spiking loss


@dataclass(frozen=True)
class Phase:
    """Steps in which the same weights learn, from and to a global step."""

    start: int
    stop: int
    rate: float
    connector_only: bool

    def rate_at(self, step: int, warm_up: float) -> float:
        """The learning rate of a step: up in a line, down as a cosine to a hundredth."""
        done, rising = (step - self.start) / (self.stop - self.start), max(warm_up, 1e-9)
        if done < rising:
            return self.rate * (step - self.start + 1) / (math.ceil(rising * (self.stop - self.start)) or 1)
        return self.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * (done - rising) / (1 - rising))) / 2)


def phases(train: Train) -> list[Phase]:
    """The phases that have any steps."""
    turn = min(train.connector_steps, train.steps)
    both = [Phase(0, turn, train.connector_rate, True), Phase(turn, train.steps, train.rate, False)]
    return [phase for phase in both if phase.stop > phase.start]


def log_of(run: Run, group: Group) -> Log:
    """Where the figures and samples of a run are noted."""
    return Log(run.lake.storage, f"{run.folder}/tensorboard", group)


def stream_of(run: Run, processor: Any) -> Stream:
    """The lessons of a run, worded for a model."""
    settings = run.settings.distill
    source = Source(run.lake, taught_keys(run.lake, run.key))
    wording = Wording(processor, load_recipe(run.settings.caption.recipe))
    return Stream(source, wording.lesson, settings.lessons, settings.train)


def train(group: Group, run: Run) -> None:
    """Train to the last step, from wherever the newest checkpoint stands."""
    settings = run.settings.distill.train
    log = log_of(run, group)
    begun = resume.newest(run.lake.storage, checkpoints(run)) or State()
    run.progress.advance(begun.step * settings.batch * settings.accumulate, resumed=True)
    for phase in phases(settings):
        state = resume.newest(run.lake.storage, checkpoints(run)) or State()
        if state.step < phase.stop:
            _train(group, run, phase, state, log)


def _train(group: Group, run: Run, phase: Phase, state: State, log: Log) -> None:
    settings = run.settings.distill.train
    model, processor = load_base(run.settings.distill)
    learner = _prepared(Learner(model, processor), phase, settings, group)
    optimizer = _optimizer(learner, settings)
    if state.step:
        resume.restore(run.lake.storage, checkpoints(run), learner, optimizer, state, phase.start)
    stream = _batches(group, run, processor, state)
    for step in range(state.step, phase.stop):
        rate = phase.rate_at(step, settings.warm_up)
        began = time.monotonic()
        loss, figures, last = _step(learner, optimizer, stream, rate, settings, group)
        state = _told(state, loss, last, settings.spike)
        seconds = time.monotonic() - began
        _account(run, group, log, state, figures | {"rate": rate, "seconds": seconds}, settings)
        if state.step == phase.stop or (state.step % settings.checkpoint_steps == 0 and not state.spikes):
            resume.save(run.lake.storage, checkpoints(run), state, learner, optimizer, group)
            log.keep()


def _prepared(learner: Learner, phase: Phase, settings: Train, group: Group) -> Learner:
    freeze_unused(learner.model)
    if phase.connector_only:
        learner.requires_grad_(False)
        learner.model.model.multi_modal_projector.requires_grad_(True)
    elif not settings.vision:
        learner.model.model.vision_tower.requires_grad_(False)
    if settings.checkpointing:
        learner.model.gradient_checkpointing_enable({"use_reentrant": False})
    learner.train().to(group.device)
    if group.world > 1:
        spread_weights(learner, settings, group)
    return learner


def _optimizer(learner: nn.Module, settings: Train) -> torch.optim.Optimizer:
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": settings.decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=weights[0].device.type == "cuda")


def _batches(group: Group, run: Run, processor: Any, state: State) -> Iterator[Batch]:
    settings = run.settings.distill
    pictures = Pictures(run.settings, side_of(processor), processor.tokenizer.pad_token_id)
    shares = stream_of(run, processor).shares(state.position, group.rank, group.world)
    return batches(pictures, shares, settings.lessons.workers, pin=group.device.type == "cuda")


def _step(
    learner: Learner, optimizer: Any, stream: Iterator[Batch], rate: float, settings: Train, group: Group
) -> tuple[float, dict[str, float], Batch]:
    """One optimiser step: its mean loss over all processes, what it took, and its last batch."""
    total, waited, flops, tokens = torch.zeros((), device=group.device), 0.0, 0.0, 0
    mixed = settings.dtype != "float32" and group.world == 1
    for _ in range(settings.accumulate // group.world):
        asked = time.monotonic()
        batch = next(stream)
        waited += time.monotonic() - asked
        ids, labels, pixels = (part.to(group.device, non_blocking=True) for part in batch[:3])
        with torch.autocast(group.device.type, getattr(torch, settings.dtype)) if mixed else nullcontext():
            loss = learner(ids, labels, pixels) / batch.step_tokens
        (loss * group.world).backward()  # FSDP takes the mean over processes; the loss is a sum
        total += loss.detach()
        flops, tokens = flops + learner.flops(ids, batch.labels), tokens + ids.numel()
    nn.utils.clip_grad_norm_([weight for weight in learner.parameters() if weight.requires_grad], settings.clip)
    for weights in optimizer.param_groups:
        weights["lr"] = rate
    mean = group.total(total)
    if math.isfinite(mean):
        optimizer.step()
    optimizer.zero_grad()
    return mean, {"wait": waited, "flops": flops, "tokens": tokens}, batch


def _told(state: State, loss: float, batch: Batch, spike: float) -> State:
    """The state after a step; BadData when the loss says that going on is of no use."""
    advice = "The last good checkpoint stands; lower distill.train.rate or look at the captions, then run again."
    if not math.isfinite(loss):
        raise BadData(f"The loss of step {state.step + 1} is {loss}. {advice}")
    high = state.step > 0 and loss > spike * state.loss
    mean = state.loss if high else loss if state.step == 0 else 0.95 * state.loss + 0.05 * loss
    after = replace(
        state,
        step=state.step + 1,
        position=batch.after,
        loss=mean,
        spikes=state.spikes + 1 if high else 0,
        tokens=state.tokens + batch.step_tokens,
    )
    if after.spikes >= _PATIENCE:
        times = f"{loss / mean:.1f} times its mean, since {_PATIENCE} steps"
        raise BadData(f"The loss stands at {loss:.3g}, {times}. {advice}")
    return resume.thinned(after, loss)


def _account(run: Run, group: Group, log: Log, state: State, figures: dict[str, float], settings: Train) -> None:
    loss, tokens = state.curve[-1][1], figures["tokens"] * group.world
    told = {"loss": loss, "rate": figures["rate"], "tokens_per_second": tokens / figures["seconds"]}
    if settings.peak_tflops:
        told["mfu"] = figures["flops"] / figures["seconds"] / (settings.peak_tflops * 1e12)
    log.write(state.step, **told)
    if group.leads:
        for name in ("seconds", "wait", "tokens", "flops"):
            run.measure(f"train_{name}", figures[name])
        run.progress.advance(settings.batch * settings.accumulate, tokens=tokens)
