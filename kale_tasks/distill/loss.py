"""A model with its loss on captions, also on those that are held out."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from kale_tasks.distill.batches import IGNORED, BatchDataset, on_device
from kale_tasks.distill.operations import Operations
from kale_tasks.distill.parallel import TrainingProcess, arithmetic
from kale_tasks.distill.prefix import states_after_prefix
from kale_tasks.distill.sampler import START, ExampleSampler, MicroBatch
from kale_tasks.settings.distill import Distill


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

    def forward(self, ids: torch.Tensor, labels: torch.Tensor, pixels: Any) -> torch.Tensor:
        """Return the sum of the losses of all caption tokens. Images are bytes, or what a processor made of them.

        A student needs no attention mask: padding comes last, so no caption token attends to it.
        """
        images = {"pixel_values": self.normalize(pixels)} if isinstance(pixels, torch.Tensor) else self._cast(pixels)
        if isinstance(pixels, torch.Tensor) and not self._calls_layers_once:
            hidden, labels = states_after_prefix(self.model, ids, labels, **images)
        else:
            hidden = self.model.model(input_ids=ids, use_cache=False, **images).last_hidden_state
        counted = labels[:, 1:] != IGNORED
        logits = self.model.lm_head(hidden[:, :-1][counted])
        return nn.functional.cross_entropy(logits.float(), labels[:, 1:][counted], reduction="sum")

    @property
    def _calls_layers_once(self) -> bool:
        return self.model.is_activation_checkpointing or isinstance(self, FSDPModule)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Convert images from bytes to the scale and type of the vision tower."""
        return ((pixels.float() - self.mean) / self.deviation).to(self.model.dtype)

    def _cast(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: one.to(self.model.dtype) if one.is_floating_point() else one for name, one in inputs.items()}

    def flops(self, ids: torch.Tensor, labels: torch.Tensor) -> float:
        """Estimate the floating-point operations of a forward and backward pass, without recomputed activations."""
        rows, length = ids.shape
        config = self.model.config
        images = getattr(config, "image_seq_length", 0) or int((ids == config.image_token_id).sum()) / rows
        return self._operations.count(rows, length, int((labels != IGNORED).sum()), images)

    @cached_property
    def _operations(self) -> Operations:
        return Operations.of(self.model)


class Validation:
    """The loss on held-out captions. They are the same in every training, and every process has as many batches."""

    def __init__(
        self, process: TrainingProcess, distill: Distill, sampler: ExampleSampler, dataset: BatchDataset
    ) -> None:
        self._process, self._train = process, distill.train
        examples = sampler.held_out(distill.train.validation_rows, distill.lessons.held_out)
        own = examples[process.rank :: process.world_size][: len(examples) // process.world_size]
        size = distill.train.batch
        self._batches = [dataset[MicroBatch(own[at : at + size], START, 0)] for at in range(0, len(own), size)]

    def loss(self, module: nn.Module) -> float | None:
        """Return the mean loss of a caption token over all processes; None if nothing is held out."""
        total = torch.zeros(2, device=self._process.device)
        module.eval()
        with torch.no_grad(), arithmetic(self._process, self._train):
            for batch in self._batches:
                ids, labels, pixels = (on_device(part, self._process.device) for part in batch[:3])
                total += torch.stack([module(ids, labels, pixels).float(), (labels != IGNORED).sum()])
        module.train()
        loss, tokens = self._process.sum(total).tolist()
        return loss / tokens if tokens else None
