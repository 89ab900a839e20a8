"""What all rows of a batch begin with, such as the instructions of a prompt, is computed once and not in each row."""

from typing import Any

import torch

from kale_tasks.distill.batches import IGNORED


def states_after_prefix(model: Any, ids: torch.Tensor, labels: torch.Tensor, **images: Any) -> tuple[Any, torch.Tensor]:
    """Return the last hidden states of all tokens but those of the shared prefix, and the labels of these tokens."""
    shared = _shared(model, ids, labels)
    cache = _cache(model, ids[:1, :shared], len(ids)) if shared else None
    found = model.model(input_ids=ids[:, shared:], past_key_values=cache, use_cache=False, **images)
    return found.last_hidden_state, labels[:, shared:]


def _shared(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> int:
    """Return with how many equal tokens all rows begin, before their images and their answers."""
    differs = (ids != ids[0]).any(0) | (ids[0] == getattr(model.config, "image_token_id", -1))
    answer = (labels != IGNORED).any(0).roll(-1)  # the token before an answer predicts its first token
    return int((~(differs | answer)).cumprod(0).sum())


def _cache(model: Any, prefix: torch.Tensor, rows: int) -> Any:
    cache = model.model(input_ids=prefix, use_cache=True).past_key_values
    cache.batch_repeat_interleave(rows)
    return cache
