"""How many operations a training takes, from the weights of a model: those that are trained, and those that are not."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from kale_tasks.distill.model import language_of, layers_of, patches_per_token, vision_of


@dataclass(frozen=True)
class Operations:
    """Estimates the floating-point operations of forward and backward passes, without recomputed activations."""

    patch: int  # of an image, in the layers of the vision tower
    image_token: int  # in the connector
    token: int
    answer: int  # a token that has a loss
    squares: tuple[int, int]  # attention of patches and of tokens
    patches: int  # of an image that the language model sees as one token

    @classmethod
    def of(cls, model: Any) -> "Operations":
        """Look at the weights of a model."""
        config, vision, text = model.config, vision_of(model), language_of(model)
        blocks, layers = layers_of(vision), layers_of(text)
        return cls(
            patch=_matmuls(blocks, 2),
            image_token=_matmuls(model.model, 2) - _matmuls(blocks, 2) - _matmuls(text, 2),
            token=_matmuls(layers, 4),
            answer=_matmuls(model.lm_head, 4),
            squares=(len(blocks) * config.vision_config.hidden_size, len(layers) * config.text_config.hidden_size),
            patches=patches_per_token(config),
        )

    def count(self, rows: int, length: int, answers: int, image_tokens: float) -> float:
        """Return those of a pass over rows; `length` and `image_tokens` are those of a row, `answers` those of all."""
        patches = image_tokens * self.patches
        work = rows * (self.patch * patches + self.image_token * image_tokens + self.token * length)
        attention = self.squares[0] * patches**2 + self.squares[1] * length**2 // 2  # the latter is causal
        return float(work + self.answer * answers + 12 * rows * attention)


def _matmuls(part: nn.Module, frozen: int) -> int:
    # Two operations per weight in the forward pass, and in the backward pass for each gradient (input and weight).
    return sum(weight.numel() * (6 if weight.requires_grad else frozen) for weight in part.parameters())
