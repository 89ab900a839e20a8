"""A model with its loss on captions, and how many operations that takes."""

from typing import Any

import torch
from torch import nn

from kale_tasks.distill.batches import IGNORED


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
        rows, length = ids.shape
        return training_flops(self.model, rows, length, int((labels != IGNORED).sum()))


def training_flops(model: Any, rows: int, length: int, answers: int) -> float:
    """Estimate the operations of a forward and backward pass over rows of tokens; `answers` of all have a loss."""
    config, parts = model.config, model.model
    patches = config.image_seq_length
    text, vision = config.text_config, config.vision_config
    work = (_matmuls(parts.vision_tower, 2) + _matmuls(parts.multi_modal_projector, 2)) * rows * patches
    work += _matmuls(parts.language_model.layers, 4) * rows * length
    work += _matmuls(model.lm_head, 4) * answers
    attention = vision.num_hidden_layers * vision.hidden_size * patches**2
    attention += text.num_hidden_layers * text.hidden_size * length**2 // 2  # causal
    return float(work + 12 * rows * attention)


def _matmuls(part: nn.Module, frozen: int) -> int:
    # Two operations per weight in the forward pass, and in the backward pass for each gradient (input and weight).
    return sum(weight.numel() * (6 if weight.requires_grad else frozen) for weight in part.parameters())
