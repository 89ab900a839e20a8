"""One training loop for all tiny models."""

import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kale_tasks.progress import Progress

IGNORED = -100
_WARM_UP = 50


def answer_loss(model: Any, ids: Any, labels: Any, **seen: Any) -> Any:
    """Cross entropy of the answers; the many tokens of the questions never reach the output layer."""
    from torch.nn.functional import cross_entropy

    shared = _shared(model, ids, labels)
    read = _read_once(model, ids[:1, :shared], len(ids)) if shared else None
    states = model.model(input_ids=ids[:, shared:], past_key_values=read, use_cache=False, **seen).last_hidden_state
    next_ids = labels[:, shared + 1 :]
    counted = next_ids != IGNORED
    return cross_entropy(model.lm_head(states[:, :-1][counted]), next_ids[counted])


def _shared(model: Any, ids: Any, labels: Any) -> int:
    """How many tokens all conversations of a batch begin with, before their pictures and their answers."""
    own = (ids != ids[0]).any(0) | (ids[0] == getattr(model.config, "image_token_id", -1))
    answered = (labels != IGNORED).any(0).roll(-1)  # the token before an answer foretells its first word
    return int((~(own | answered)).cumprod(0).sum())


def _read_once(model: Any, beginning: Any, rows: int) -> Any:
    """What the model remembers of a beginning, for every row: a quarter of all tokens need not be read row by row."""
    memory = model.model(input_ids=beginning, use_cache=True).past_key_values
    memory.batch_repeat_interleave(rows)
    return memory


def fit(
    model: Any,
    batches: Iterator[Any],
    loss_of: Callable[[Any], Any],
    steps: int,
    rate: float,
    log: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Trains the model for some steps; writes the loss curve to `log` and returns steps, last loss and seconds."""
    import torch

    optimizers = _optimizers(model, rate)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_pace, steps)) for optimizer in optimizers]
    model.train()
    started, worked = time.monotonic(), time.process_time()
    running = 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as lines:
        for step in range(1, steps + 1):
            loss = loss_of(next(batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for stepper in (*optimizers, *schedules):
                stepper.step()
            model.zero_grad()
            progress.advance(1)
            running = loss.item() if step == 1 else 0.95 * running + 0.05 * loss.item()
            if step % 25 == 0 or step == steps:
                seconds = round(time.monotonic() - started, 1)
                lines.write(json.dumps({"step": step, "loss": round(running, 4), "seconds": seconds}) + "\n")
                lines.flush()
    model.eval()
    return {
        "steps": steps,
        "loss": round(running, 4),
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(time.process_time() - worked),
    }


def _optimizers(model: Any, rate: float) -> list[Any]:
    """Muon for the matrices inside, which learn about twice as fast by it, and AdamW for everything else."""
    import torch

    learned = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    inner = {name for name, weight in learned.items() if weight.ndim == 2 and "embed" not in name}
    matrices = [learned[name] for name in inner]
    others = [weight for name, weight in learned.items() if name not in inner]
    return [
        torch.optim.Muon(matrices, rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _pace(steps: int, step: int) -> float:
    """Share of the full learning rate: up in a short line, down in half a cosine."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP))) / 2
