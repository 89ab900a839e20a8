"""Low-rank updates (LoRA): a student learns small matrices beside its weights, which are added to them at the end."""

import math
from typing import Any

import torch
from torch import nn

_SCALE = 2.0  # of an update, whatever its rank


class LowRank(nn.Module):
    """A linear layer with a low-rank update, which is 0 at first. Only the update is trained."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.low_rank_in = nn.Parameter(torch.empty(rank, linear.in_features, device=linear.weight.device))
        self.low_rank_out = nn.Parameter(torch.zeros(linear.out_features, rank, device=linear.weight.device))
        nn.init.kaiming_uniform_(self.low_rank_in, a=math.sqrt(5))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the layer with its update."""
        update = nn.functional.linear(nn.functional.linear(inputs, self.low_rank_in), self.low_rank_out)
        outputs: torch.Tensor = self.linear(inputs) + _SCALE * update
        return outputs

    def merged(self) -> nn.Linear:
        """Return the layer with the update added to its weights."""
        with torch.no_grad():
            self.linear.weight += _SCALE * self.low_rank_out @ self.low_rank_in
        return self.linear


def add_low_rank(model: nn.Module, layers: nn.Module, rank: int) -> None:
    """Give every linear layer among some layers of a model an update of this rank. No other weight is trained."""
    model.requires_grad_(False)
    for parent, name, layer in list(_children(layers, nn.Linear)):
        setattr(parent, name, LowRank(layer, rank))


def merge_low_rank(model: nn.Module) -> None:
    """Add all updates to the weights, so that any engine can load the model."""
    for parent, name, layer in list(_children(model, LowRank)):
        setattr(parent, name, layer.merged())


def train_updates(model: nn.Module) -> bool:
    """Freeze all but the updates; False if there are none."""
    updates = [one for _, _, one in _children(model, LowRank)]
    if updates:
        model.requires_grad_(False)
    for one in updates:
        one.low_rank_in.requires_grad_(True)
        one.low_rank_out.requires_grad_(True)
    return bool(updates)


def _children(model: nn.Module, kind: type[Any]) -> list[tuple[nn.Module, str, Any]]:
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, kind)
    ]
