"""The training loop of all tiny models."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kale_tasks.distill.batches import IGNORED
from kale_tasks.distill.prefix import states_after_prefix
from kale_tasks.distill.schedule import warm_up_cosine
from kale_tasks.progress import Progress

_WARM_UP_STEPS = 50
_CURVE_STEPS = 25


def answer_loss(model: Any, ids: Any, labels: Any, **images: Any) -> Any:
    """Return the mean cross entropy of the answers' tokens. Only those tokens reach the output layer."""
    from torch.nn.functional import cross_entropy

    states, labels = states_after_prefix(model, ids, labels, **images)
    next_ids = labels[:, 1:]
    counted = next_ids != IGNORED
    return cross_entropy(model.lm_head(states[:, :-1][counted]), next_ids[counted])


def fit(
    model: Any,
    batches: Iterator[Any],
    loss_of: Callable[[Any], Any],
    steps: int,
    rate: float,
    log: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train a model for some steps and write its loss curve to `log`. Return steps, last loss, seconds, CPU seconds."""
    import torch

    optimizers = _optimizers(model, rate)
    share = partial(warm_up_cosine, steps=steps, warm_up_steps=_WARM_UP_STEPS)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, share) for optimizer in optimizers]
    model.train()
    started, started_cpu = time.monotonic(), time.process_time()
    running = 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as lines:
        for step in range(1, steps + 1):
            loss = loss_of(next(batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for stepped in (*optimizers, *schedules):
                stepped.step()
            model.zero_grad()
            progress.advance(1)
            running = loss.item() if step == 1 else 0.95 * running + 0.05 * loss.item()
            if step % _CURVE_STEPS == 0 or step == steps:
                seconds = round(time.monotonic() - started, 1)
                lines.write(json.dumps({"step": step, "loss": round(running, 4), "seconds": seconds}) + "\n")
                lines.flush()
    model.eval()
    return {
        "steps": steps,
        "loss": round(running, 4),
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(time.process_time() - started_cpu),
    }


def _optimizers(model: Any, rate: float) -> list[Any]:
    """Return Muon for the inner matrices, which learn about twice as fast with it, and AdamW for everything else."""
    import torch

    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    inner = {name for name, weight in trained.items() if weight.ndim == 2 and "embed" not in name}
    matrices = [trained[name] for name in inner]
    others = [weight for name, weight in trained.items() if name not in inner]
    return [
        torch.optim.Muon(matrices, rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
