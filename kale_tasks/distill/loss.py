"""The model as the training loop sees it: a batch in, the loss of its caption tokens out."""

from typing import Any

import torch
from torch import nn

from kale_tasks.distill.batches import IGNORED


class Learner(nn.Module):
    """Puts pixels in the model's scale and computes words only where a caption is learned."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.model = model
        images = processor.image_processor
        self.register_buffer("mean", torch.tensor(images.image_mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(images.image_std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """The summed loss of all caption tokens; padding comes last and no caption token looks that far."""
        seen = self.scaled(pixels)
        hidden = self.model.model(input_ids=ids, pixel_values=seen, use_cache=False).last_hidden_state
        learned = labels[:, 1:] != IGNORED
        words = self.model.lm_head(hidden[:, :-1][learned])
        return nn.functional.cross_entropy(words.float(), labels[:, 1:][learned], reduction="sum")

    def scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures in the scale that the vision tower knows."""
        return ((pixels.float() - self.mean) / self.deviation).to(self.model.dtype)

    def flops(self, ids: torch.Tensor, labels: torch.Tensor) -> float:
        """Arithmetic of one forward and backward pass, by weights and attention; recomputation is not counted."""
        config, model = self.model.config, self.model.model
        rows, length = ids.shape
        patches = config.image_seq_length
        text, seen = config.text_config, config.vision_config
        work = (_matmuls(model.vision_tower, 2) + _matmuls(model.multi_modal_projector, 2)) * rows * patches
        work += _matmuls(model.language_model.layers, 4) * rows * length
        work += _matmuls(self.model.lm_head, 4) * int((labels != IGNORED).sum())
        attention = seen.num_hidden_layers * seen.hidden_size * patches**2
        attention += text.num_hidden_layers * text.hidden_size * length**2 // 2  # causal
        return float(work + 12 * rows * attention)


def _matmuls(part: nn.Module, frozen: int) -> int:
    # Forward, and backward for what comes before and for the weights themselves: 2 operations a weight each.
    return sum(weight.numel() * (6 if weight.requires_grad else frozen) for weight in part.parameters())
