"""One training loop for all tiny models."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

IGNORED = -100
_WARM_UP = 50


def answer_loss(model: Any, ids: Any, labels: Any, **seen: Any) -> Any:
    """Cross entropy of the answers; the many tokens of the questions never reach the output layer."""
    from torch.nn.functional import cross_entropy

    states = model.model(input_ids=ids, use_cache=False, **seen).last_hidden_state[:, :-1]
    next_ids = labels[:, 1:]
    counted = next_ids != IGNORED
    return cross_entropy(model.lm_head(states[counted]), next_ids[counted])


def fit(
    model: Any, batches: Iterator[Any], loss_of: Callable[[Any], Any], steps: int, rate: float, log: Path
) -> dict[str, Any]:
    """Trains the model for some steps; writes the loss curve to `log` and returns steps, last loss and seconds."""
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, steps, pct_start=min(0.3, _WARM_UP / steps), cycle_momentum=False, final_div_factor=100
    )
    model.train()
    started, worked = time.monotonic(), time.process_time()
    running = 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as lines:
        for step in range(1, steps + 1):
            loss = loss_of(next(batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
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
