"""`kale distill plan`: what a training will take, from configurations, lengths of examples and a measured speed."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import nn

from kale_tasks.distill.model import choose_trained, load_processor, outline, with_updates
from kale_tasks.distill.operations import Operations
from kale_tasks.distill.parallel import choose_device
from kale_tasks.distill.sampler import START, ExampleSampler
from kale_tasks.distill.schedule import phases
from kale_tasks.distill.train import example_sampler
from kale_tasks.runner.run import Run
from kale_tasks.settings.distill import Distill, Train

_FLOAT32 = 4  # bytes
_RECOMPUTED = 4 / 3  # of the operations, if activations are recomputed: one more forward pass of three
_MEASURED_SECONDS = 3.0
_SAMPLED = 16  # forward passes whose lengths are looked at
_WRITTEN_A_SECOND = 1e9  # bytes, by one process


class Lengths(NamedTuple):
    """Tokens of an example: padded length of prompt, image and answer, the answer alone, and the image alone."""

    length: int
    answer: int
    image: int = 0  # if it is known; a new student always has as many


@dataclass(frozen=True)
class Forecast:
    """What a training will take. Operations are those of the model, without recomputed activations."""

    parameters: int
    trained: int  # in the last phase
    image_tokens: int
    length: int  # tokens of an example
    tokens: int  # of the whole training, images and padding included
    flops_per_step: float  # in the last phase, of all processes
    tflops: float  # of one process
    processes: int
    seconds_per_step: float
    hours: float
    tasks: int  # of `schedule.task_hours` each
    checkpoint_bytes: int
    checkpoint_bytes_per_process: int
    checkpoint_seconds: float  # to write it at 1 GB/s for each process, in the background
    state_bytes_per_process: int  # weights, gradients and optimiser state, of the processes that share a copy

    @property
    def text(self) -> str:
        """The forecast in sentences."""
        image = f", {self.image_tokens} of them the image" if self.image_tokens else ""
        return (
            f"{self.parameters / 1e6:,.0f} M weights, of which {self.trained / 1e6:,.0f} M are trained. "
            f"{self.length} tokens an example{image}; "
            f"{self.tokens / 1e6:,.0f} M in all.\n"
            f"{self.flops_per_step:.3g} operations a step: {self.seconds_per_step:g} s at {self.tflops:g} TFLOPS for "
            f"each of {self.processes} process(es). {self.hours:g} hours in all, in {self.tasks} task(s).\n"
            f"A checkpoint has {self.checkpoint_bytes / 1e9:.3g} GB: {self.checkpoint_bytes_per_process / 1e9:.3g} GB "
            f"for each process, {self.checkpoint_seconds:g} s at 1 GB/s. Weights, gradients and optimiser state of a "
            f"process take {self.state_bytes_per_process / 1e9:.3g} GB."
        )


def forecast(
    distill: Distill, lengths: Lengths, processes: int, task_hours: float, tflops: float | None = None
) -> Forecast:
    """Compute what a training takes. Without `tflops` of one process, they are measured on this machine."""
    train = distill.train
    model = with_updates(outline(distill), train)
    image_tokens = getattr(model.config, "image_seq_length", 0) or lengths.image
    rate = tflops or measured_tflops(model.config.text_config, train, lengths.length)
    seconds, flops = 0.0, 0.0
    for phase in phases(train):
        if not train.rank:
            model.requires_grad_(True)
        choose_trained(model, connector_only=phase.connector_only, vision=train.vision)
        answers = train.batch * lengths.answer
        of_pass = Operations.of(model).count(train.batch, lengths.length, answers, image_tokens)
        flops = of_pass * train.accumulate
        seconds += (phase.stop - phase.start) * _seconds(flops, rate * processes, train)
    trained = _count(model, trained=True)
    hours, checkpoint = seconds / 3600, trained * 3 * _FLOAT32  # weights and two moments
    return Forecast(
        parameters=_count(model),
        trained=trained,
        image_tokens=image_tokens,
        length=lengths.length,
        tokens=train.steps * train.batch * train.accumulate * lengths.length,
        flops_per_step=flops,
        tflops=round(rate, 3),
        processes=processes,
        seconds_per_step=round(_seconds(flops, rate * processes, train), 3),
        hours=round(hours, 2),
        tasks=math.ceil(hours / task_hours),
        checkpoint_bytes=checkpoint,
        checkpoint_bytes_per_process=-(-checkpoint // processes),
        checkpoint_seconds=round(checkpoint / processes / _WRITTEN_A_SECOND, 2),
        state_bytes_per_process=-(-(_count(model) + 3 * trained) * _FLOAT32 // (train.shards or processes)),
    )


def lengths_of(run: Run) -> Lengths:
    """Return the mean lengths of the examples of a run."""
    return sampled_lengths(example_sampler(run, load_processor(run.settings.distill)))


def sampled_lengths(sampler: ExampleSampler) -> Lengths:
    """Return the mean lengths of the examples of the first forward passes, padded as they are trained on."""
    batches = [batch.examples for batch in islice(sampler.micro_batches(START), _SAMPLED)]
    rows = sum(map(len, batches))
    padded = sum(len(batch) * max(example.tokens for example in batch) for batch in batches)
    answers = sum(len(example.answer) for batch in batches for example in batch)
    images = sum(example.image_tokens for batch in batches for example in batch)
    return Lengths(*(math.ceil(tokens / rows) for tokens in (padded, answers, images)))


def measured_tflops(text_config: Any, train: Train, length: int) -> float:
    """Measure how many operations a second training reaches here, with one layer of the language model."""
    device = choose_device(train.device)
    rows = train.batch if device.type == "cuda" else 1
    layer = _one_layer(text_config, device, getattr(torch, train.dtype))
    ids = torch.zeros(rows, length, dtype=torch.long, device=device)
    work: int = 6 * _count(layer.layers) * rows * length + 12 * rows * text_config.hidden_size * length**2 // 2
    return max(work / took for took in _timed_passes(layer, ids)) / 1e12


def _timed_passes(layer: Any, ids: torch.Tensor) -> Iterator[float]:
    end = time.monotonic() + _MEASURED_SECONDS
    while True:
        began = time.monotonic()
        layer(input_ids=ids, use_cache=False).last_hidden_state.sum().backward()
        if ids.is_cuda:
            torch.cuda.synchronize()
        yield time.monotonic() - began
        if time.monotonic() > end:
            return


def _one_layer(text_config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    from transformers import AutoConfig, AutoModel

    make: Any = AutoModel
    short = {"num_hidden_layers": 1, "vocab_size": 8, "layer_types": None, "pad_token_id": None}
    config = AutoConfig.for_model(**{**text_config.to_dict(), **short})
    return make.from_config(config, dtype=dtype).to(device).train()


def _seconds(flops: float, tflops: float, train: Train) -> float:
    return flops * (_RECOMPUTED if train.checkpointing else 1) / (tflops * 1e12)


def _count(model: nn.Module, *, trained: bool = False) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trained)
