"""The training loop: first the connector alone, then the whole model. It continues from the newest checkpoint."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import psutil
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from kale_tasks.distill.batches import TensorBatch, load_batches, on_device
from kale_tasks.distill.checkpoint import Checkpoints, checkpoint_folder
from kale_tasks.distill.dataset import IMAGES, CaptionDataset, variant_keys, variant_name
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.log import TrainingLog
from kale_tasks.distill.loss import CaptionLoss, Validation
from kale_tasks.distill.model import choose_trained, load_base
from kale_tasks.distill.parallel import TrainingProcess, arithmetic, require_equal_shares, shard_weights
from kale_tasks.distill.sampler import ExampleSampler
from kale_tasks.distill.schedule import Phase, phases
from kale_tasks.distill.state import TrainingState
from kale_tasks.distill.vlm_batches import open_dataset
from kale_tasks.errors import BadData, Transient
from kale_tasks.lake.leases import TASK
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.settings.distill import Train

_MOST_SPIKES = 10  # consecutive steps with a spiking loss that end a training
_SPARE = 0.05  # of a task's time: the next checkpoint may take longer than the last one
_MEAN_DECAY = 0.95  # of the running mean of the loss, per step


class TaskClock:
    """Tells, at each checkpoint, whether the next one would come too late. Without a scheduler it never does."""

    def __init__(self, hours: float) -> None:
        self._limit = hours * 3600 if os.environ.get(TASK) else None
        self._began, self._last = psutil.Process().create_time(), time.time()

    def is_over(self) -> bool:
        """Whether the time up to the next checkpoint, which is that since the last one, is no longer left."""
        now = time.time()
        since, self._last = now - self._last, now
        return self._limit is not None and now - self._began + since > self._limit * (1 - _SPARE)


def example_sampler(run: Run, processor: Any, variant: str = "") -> ExampleSampler:
    """Return the examples of a run, or those that a variant of its recipe made, encoded with a model's processor."""
    settings = run.settings.distill
    keys = variant_keys(run.inputs, variant)
    captions = [run.rows(variant_name(key, variant)) for key in keys]
    dataset = CaptionDataset(captions, [run.rows(IMAGES + key) for key in keys])
    recipe = load_recipe(run.settings.caption.recipe)
    encoder = ExampleEncoder(processor, recipe)
    return ExampleSampler(dataset, encoder.encode, recipe, settings.lessons, settings.train)


def train(process: TrainingProcess, run: Run) -> None:
    """Train to the last step, from the newest checkpoint if there is one.

    Raises BadData if the loss is not finite or stays far above its mean, BadConfig if steps cannot be shared.
    """
    settings = run.settings.distill.train
    require_equal_shares(settings, process.world_size)
    log = TrainingLog(run.lake.storage, run.folder, process)
    checkpoints = Checkpoints(run.lake.storage, checkpoint_folder(run.folder), process)
    state = checkpoints.newest()
    run.progress.advance(state.step * settings.batch * settings.accumulate, resumed=True)
    for phase in phases(settings):
        if state.step < phase.stop:
            try:
                state = _train_phase(process, run, phase, state, checkpoints, log)
            finally:
                checkpoints.wait()
            log.upload()


def _train_phase(
    process: TrainingProcess, run: Run, phase: Phase, state: TrainingState, checkpoints: Checkpoints, log: TrainingLog
) -> TrainingState:
    settings = run.settings.distill.train
    model, processor = load_base(run.settings.distill)
    module = _prepare(CaptionLoss(model, processor), phase, settings, process)
    optimizer = _optimizer(module, settings)
    if state.step:
        checkpoints.restore(state, module, optimizer if state.step > phase.start else None)
    dataset = open_dataset(run.settings, processor)
    sampler = example_sampler(run, processor)
    validation = Validation(process, run.settings.distill, sampler, dataset)
    micro_batches = sampler.micro_batches(state.position, process.rank, process.world_size)
    workers = run.settings.distill.lessons.workers
    batches = load_batches(dataset, micro_batches, workers, pin_memory=process.device.type == "cuda")
    clock = TaskClock(run.settings.schedule.task_hours)
    while state.step < phase.stop:
        torch.manual_seed(settings.seed + state.step * process.world_size + process.rank)  # a resumed step is the same
        began = time.monotonic()
        rate = phase.rate_at(state.step, settings.warm_up)
        made = _optimizer_step(module, optimizer, batches, rate, settings, process)
        state = _next_state(state, made, settings.spike)
        _report(run, process, log, state, made, time.monotonic() - began)
        if state.step == phase.stop or (state.step % settings.checkpoint_steps == 0 and not state.spikes):
            checkpoints.save(state, module, optimizer)
            log.add(state.step, validation_loss=validation.loss(module))
            log.upload()
            if process.any(clock.is_over()) and state.step < settings.steps:
                raise Transient(f"The task's hours end: step {state.step} is saved, and the next try goes on from it.")
    return state


def _prepare(module: CaptionLoss, phase: Phase, settings: Train, process: TrainingProcess) -> CaptionLoss:
    choose_trained(module.model, connector_only=phase.connector_only, vision=settings.vision)
    if settings.checkpointing:
        module.model.gradient_checkpointing_enable({"use_reentrant": False})
    module.train().to(process.device)
    if process.world_size > 1:
        shard_weights(module, settings, process)
    return module


def _optimizer(module: nn.Module, settings: Train) -> torch.optim.Optimizer:
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": settings.decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=weights[0].device.type == "cuda")


@dataclass(frozen=True)
class _Made:
    """What one optimiser step was: its mean loss over all processes, and figures of this process."""

    loss: float
    norm: float  # of the gradient, before it is clipped
    rate: float
    waited: float
    flops: float
    tokens: int
    last: TensorBatch


def _optimizer_step(
    module: CaptionLoss, optimizer: Any, batches: Iterator[TensorBatch], rate: float, settings: Train,
    process: TrainingProcess,
) -> _Made:  # fmt: skip
    began = time.monotonic()
    ready = list(islice(batches, settings.accumulate // process.world_size))
    waited = time.monotonic() - began
    total = _backward(module, ready, settings, process)
    groups = optimizer.param_groups
    norm = nn.utils.clip_grad_norm_([weight for group in groups for weight in group["params"]], settings.clip)
    for group in groups:
        group["lr"] = rate
    mean = float(process.sum(total))
    if math.isfinite(mean):
        optimizer.step()
    optimizer.zero_grad()
    flops = sum(module.flops(batch.ids, batch.labels) for batch in ready)
    return _Made(mean, _whole(norm), rate, waited, flops, sum(batch.ids.numel() for batch in ready), ready[-1])


def _backward(
    module: CaptionLoss, ready: Sequence[TensorBatch], settings: Train, process: TrainingProcess
) -> torch.Tensor:
    """Add up the gradients of some batches. Return the sum of their losses."""
    total = torch.zeros((), device=process.device)
    for batch in ready:
        if isinstance(module, FSDPModule):
            module.set_requires_gradient_sync(batch is ready[-1])  # they cross the network once per optimiser step
        ids, labels, pixels = (on_device(part, process.device) for part in batch[:3])
        with arithmetic(process, settings):
            loss = module(ids, labels, pixels) / batch.step_tokens
        (loss * process.world_size).backward()  # FSDP averages gradients over processes, but the loss is a sum
        total += loss.detach()
    return total


def _whole(norm: torch.Tensor) -> float:
    full: Any = getattr(norm, "full_tensor", None)
    return float(full() if full else norm)


def _next_state(state: TrainingState, made: _Made, spike: float) -> TrainingState:
    """Return the state after a step. Raises BadData if the loss shows that the training has failed."""
    loss = made.loss
    advice = "The last good checkpoint is kept. Lower distill.train.rate or inspect the captions, then run again."
    if not math.isfinite(loss):
        raise BadData(f"The loss of step {state.step + 1} is {loss}. {advice}")
    high = state.step > 0 and loss > spike * state.loss
    mean = state.loss if high else loss if state.step == 0 else _MEAN_DECAY * state.loss + (1 - _MEAN_DECAY) * loss
    after = replace(
        state,
        step=state.step + 1,
        position=made.last.after,
        loss=mean,
        spikes=state.spikes + 1 if high else 0,
        tokens=state.tokens + made.last.step_tokens,
    )
    if after.spikes >= _MOST_SPIKES:
        raise BadData(
            f"The loss is {loss:.3g}, more than {spike:g} times its mean for {_MOST_SPIKES} steps in a row. {advice}"
        )
    return after.with_loss(loss)


def _report(
    run: Run, process: TrainingProcess, log: TrainingLog, state: TrainingState, made: _Made, seconds: float
) -> None:
    train = run.settings.distill.train
    tokens = made.tokens * process.world_size
    logged = {
        "loss": made.loss, "rate": made.rate, "gradient_norm": made.norm, "tokens_per_second": tokens / seconds,
        "waiting": made.waited / seconds,
    }  # fmt: skip
    if train.peak_tflops:
        logged["mfu"] = made.flops / seconds / (train.peak_tflops * 1e12)
    log.add(state.step, **logged)
    if process.is_leader:
        figures = {"seconds": seconds, "wait": made.waited, "tokens": made.tokens, "flops": made.flops}
        for name, value in figures.items():
            run.measure(f"train_{name}", value)
        run.progress.advance(train.batch * train.accumulate, tokens=tokens)
