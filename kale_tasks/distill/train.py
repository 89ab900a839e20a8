"""The training loop: first the connector alone, then the whole model. It continues from the newest checkpoint."""

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kale_tasks.distill.batches import IGNORED, BatchDataset, TensorBatch, load_batches
from kale_tasks.distill.checkpoint import (
    TrainingState,
    checkpoint_folder,
    newest_state,
    restore_checkpoint,
    save_checkpoint,
)
from kale_tasks.distill.dataset import IMAGES, CaptionDataset, caption_keys
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.model import freeze_unused, image_side, load_base
from kale_tasks.distill.parallel import TrainingProcess, shard_weights
from kale_tasks.distill.sampler import ExampleSampler
from kale_tasks.distill.schedule import Phase, phases
from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.settings.distill import Train

_MOST_SPIKES = 10  # consecutive steps with a spiking loss that end a training
_MEAN_DECAY = 0.95  # of the running mean of the loss, per step


class CaptionLoss(nn.Module):
    """A model with its loss: normalizes the images and computes logits only for the tokens of captions."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.model = model
        images = processor.image_processor
        self.register_buffer("mean", torch.tensor(images.image_mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(images.image_std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses of all caption tokens.

        No attention mask is needed: padding comes last, so no caption token attends to it.
        """
        images = self.normalize(pixels)
        hidden = self.model.model(input_ids=ids, pixel_values=images, use_cache=False).last_hidden_state
        counted = labels[:, 1:] != IGNORED
        logits = self.model.lm_head(hidden[:, :-1][counted])
        return nn.functional.cross_entropy(logits.float(), labels[:, 1:][counted], reduction="sum")

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Convert images from bytes to the scale and type of the vision tower."""
        return ((pixels.float() - self.mean) / self.deviation).to(self.model.dtype)

    def flops(self, ids: torch.Tensor, labels: torch.Tensor) -> float:
        """Estimate the floating-point operations of a forward and backward pass, without recomputed activations."""
        config, model = self.model.config, self.model.model
        rows, length = ids.shape
        patches = config.image_seq_length
        text, vision = config.text_config, config.vision_config
        work = (_matmuls(model.vision_tower, 2) + _matmuls(model.multi_modal_projector, 2)) * rows * patches
        work += _matmuls(model.language_model.layers, 4) * rows * length
        work += _matmuls(self.model.lm_head, 4) * int((labels != IGNORED).sum())
        attention = vision.num_hidden_layers * vision.hidden_size * patches**2
        attention += text.num_hidden_layers * text.hidden_size * length**2 // 2  # causal
        return float(work + 12 * rows * attention)


def _matmuls(part: nn.Module, frozen: int) -> int:
    # Two operations per weight in the forward pass, and in the backward pass for each gradient (input and weight).
    return sum(weight.numel() * (6 if weight.requires_grad else frozen) for weight in part.parameters())


class TrainingLog:
    """TensorBoard logs of a training, copied to the run's folder. Only the leading process writes."""

    def __init__(self, storage: Storage, run_folder: str, process: TrainingProcess) -> None:
        self._storage, self._folder, self._writes = storage, f"{run_folder}/tensorboard", process.is_leader
        if self._writes:
            from torch.utils.tensorboard import SummaryWriter

            self._local = tempfile.TemporaryDirectory()
            self._writer = SummaryWriter(self._local.name)

    def add(self, step: int, **figures: float) -> None:
        """Log the figures of a step."""
        for name, value in figures.items() if self._writes else ():
            self._writer.add_scalar(f"train/{name}", value, step)

    def add_text(self, step: int, name: str, text: str) -> None:
        """Log a text."""
        if self._writes:
            self._writer.add_text(name, text, step)

    def upload(self) -> None:
        """Copy the log to the warehouse, where it survives this process."""
        if self._writes:
            self._writer.flush()
            for file in Path(self._local.name).iterdir():
                self._storage.put(f"{self._folder}/{file.name}", file)


def example_sampler(run: Run, processor: Any) -> ExampleSampler:
    """Return the training examples of a run, encoded with a model's processor."""
    settings = run.settings.distill
    keys = caption_keys(run.inputs)
    dataset = CaptionDataset([run.rows(key) for key in keys], [run.rows(IMAGES + key) for key in keys])
    recipe = load_recipe(run.settings.caption.recipe)
    encoder = ExampleEncoder(processor, recipe)
    return ExampleSampler(dataset, encoder.encode, recipe, settings.lessons, settings.train)


def train(process: TrainingProcess, run: Run) -> None:
    """Train to the last step, from the newest checkpoint if there is one.

    Raises BadData if the loss is not finite or stays far above its mean.
    """
    settings, folder = run.settings.distill.train, checkpoint_folder(run.folder)
    log = TrainingLog(run.lake.storage, run.folder, process)
    resumed = newest_state(run.lake.storage, folder) or TrainingState()
    run.progress.advance(resumed.step * settings.batch * settings.accumulate, resumed=True)
    for phase in phases(settings):
        state = newest_state(run.lake.storage, folder) or TrainingState()
        if state.step < phase.stop:
            _train_phase(process, run, phase, state, log)


def _train_phase(process: TrainingProcess, run: Run, phase: Phase, state: TrainingState, log: TrainingLog) -> None:
    settings, folder = run.settings.distill.train, checkpoint_folder(run.folder)
    model, processor = load_base(run.settings.distill)
    module = _prepare(CaptionLoss(model, processor), phase, settings, process)
    optimizer = _optimizer(module, settings)
    if state.step:
        restore_checkpoint(run.lake.storage, folder, module, optimizer, state, phase.start)
    batches = _batches(process, run, processor, state)
    for step in range(state.step, phase.stop):
        rate = phase.rate_at(step, settings.warm_up)
        began = time.monotonic()
        loss, figures, last = _optimizer_step(module, optimizer, batches, rate, settings, process)
        state = _next_state(state, loss, last, settings.spike)
        seconds = time.monotonic() - began
        _report(run, process, log, state, figures | {"rate": rate, "seconds": seconds}, settings)
        if state.step == phase.stop or (state.step % settings.checkpoint_steps == 0 and not state.spikes):
            save_checkpoint(run.lake.storage, folder, state, module, optimizer, process)
            log.upload()


def _prepare(module: CaptionLoss, phase: Phase, settings: Train, process: TrainingProcess) -> CaptionLoss:
    freeze_unused(module.model)
    if phase.connector_only:
        module.requires_grad_(False)
        module.model.model.multi_modal_projector.requires_grad_(True)
    elif not settings.vision:
        module.model.model.vision_tower.requires_grad_(False)
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


def _batches(process: TrainingProcess, run: Run, processor: Any, state: TrainingState) -> Iterator[TensorBatch]:
    dataset = BatchDataset(run.settings, image_side(processor), processor.tokenizer.pad_token_id)
    sampler = example_sampler(run, processor)
    micro_batches = sampler.micro_batches(state.position, process.rank, process.world_size)
    workers = run.settings.distill.lessons.workers
    return load_batches(dataset, micro_batches, workers, pin_memory=process.device.type == "cuda")


def _optimizer_step(
    module: CaptionLoss, optimizer: Any, batches: Iterator[TensorBatch], rate: float, settings: Train,
    process: TrainingProcess,
) -> tuple[float, dict[str, float], TensorBatch]:  # fmt: skip
    """Make one optimiser step. Return its mean loss over all processes, figures of this process, and its last batch."""
    total, waited, flops, tokens = torch.zeros((), device=process.device), 0.0, 0.0, 0
    mixed = settings.dtype != "float32" and process.world_size == 1
    for _ in range(settings.accumulate // process.world_size):
        began = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - began
        ids, labels, pixels = (part.to(process.device, non_blocking=True) for part in batch[:3])
        with torch.autocast(process.device.type, getattr(torch, settings.dtype)) if mixed else nullcontext():
            loss = module(ids, labels, pixels) / batch.step_tokens
        (loss * process.world_size).backward()  # FSDP averages gradients over processes, but the loss is a sum
        total += loss.detach()
        flops, tokens = flops + module.flops(ids, batch.labels), tokens + ids.numel()
    nn.utils.clip_grad_norm_([weight for weight in module.parameters() if weight.requires_grad], settings.clip)
    for weights in optimizer.param_groups:
        weights["lr"] = rate
    mean = process.sum(total)
    if math.isfinite(mean):
        optimizer.step()
    optimizer.zero_grad()
    return mean, {"wait": waited, "flops": flops, "tokens": tokens}, batch


def _next_state(state: TrainingState, loss: float, batch: TensorBatch, spike: float) -> TrainingState:
    """Return the state after a step. Raises BadData if the loss shows that the training has failed."""
    advice = "The last good checkpoint is kept. Lower distill.train.rate or inspect the captions, then run again."
    if not math.isfinite(loss):
        raise BadData(f"The loss of step {state.step + 1} is {loss}. {advice}")
    high = state.step > 0 and loss > spike * state.loss
    mean = state.loss if high else loss if state.step == 0 else _MEAN_DECAY * state.loss + (1 - _MEAN_DECAY) * loss
    after = replace(
        state,
        step=state.step + 1,
        position=batch.after,
        loss=mean,
        spikes=state.spikes + 1 if high else 0,
        tokens=state.tokens + batch.step_tokens,
    )
    if after.spikes >= _MOST_SPIKES:
        raise BadData(
            f"The loss is {loss:.3g}, more than {spike:g} times its mean for {_MOST_SPIKES} steps in a row. {advice}"
        )
    return after.with_loss(loss)


def _report(
    run: Run, process: TrainingProcess, log: TrainingLog, state: TrainingState, figures: dict[str, float], train: Train
) -> None:
    loss, tokens = state.curve[-1][1], figures["tokens"] * process.world_size
    logged = {"loss": loss, "rate": figures["rate"], "tokens_per_second": tokens / figures["seconds"]}
    if train.peak_tflops:
        logged["mfu"] = figures["flops"] / figures["seconds"] / (train.peak_tflops * 1e12)
    log.add(state.step, **logged)
    if process.is_leader:
        for name in ("seconds", "wait", "tokens", "flops"):
            run.measure(f"train_{name}", figures[name])
        run.progress.advance(train.batch * train.accumulate, tokens=tokens)
