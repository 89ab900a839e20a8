"""What the training loop costs over a bare one on the same tiny model and batches; train_gpu.py has the real size."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from kale_tasks.distill.batches import BatchDataset, TensorBatch, load_batches
from kale_tasks.distill.finalize import run_training
from kale_tasks.distill.model import freeze_unused, image_side, load_base
from kale_tasks.distill.sampler import StreamPosition
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import CaptionLoss, example_sampler
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run, plan
from kale_tasks.settings import load
from tests.distill import small

ROUNDS, STEPS, ROWS = 3, 24, 600


@dataclass(frozen=True)
class Cost:
    """What some steps took."""

    tokens: int
    cpu: float
    wall: float
    waited: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens for each CPU second: on a busy machine the honest figure."""
        return self.tokens / self.cpu

    @property
    def share(self) -> float:
        """Per cent of the wall time spent waiting for data."""
        return 100 * self.waited / self.wall


def measured(work: Callable[[], tuple[int, float]]) -> Cost:
    """The cost of some work that answers with its tokens and the seconds it waited for data."""
    cpu, wall = time.process_time(), time.monotonic()
    tokens, waited = work()
    return Cost(tokens, time.process_time() - cpu, time.monotonic() - wall, waited)


def ours(lake: Lake, number: int) -> Cost:
    """The step's own loop: data, checkpoints, logs and all; the model's loading is not counted on either side."""
    settings = lake.settings.distill.train.model_copy(update={"seed": number})
    changed = lake.settings.model_copy(update={"distill": lake.settings.distill.model_copy(update={"train": settings})})
    run = Run(Distill(), lake, changed, small.KEY)
    plan(run)
    loading = measured(lambda: (load_base(run.settings.distill) and 0, 0.0))

    def work() -> tuple[int, float]:
        run_training(run)
        return int(run.meter.figures["train_tokens"]), run.meter.figures["train_wait"]

    cost = measured(work)
    return Cost(cost.tokens, cost.cpu - loading.cpu, cost.wall - loading.wall, cost.waited)


def bare(lake: Lake, ready: Sequence[TensorBatch]) -> Cost:
    """Forward, backward, clip, step on batches that lie in memory."""
    model, processor = load_base(lake.settings.distill)
    freeze_unused(model)
    learner = CaptionLoss(model, processor).train()
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 1e-3)

    def work() -> tuple[int, float]:
        for batch in ready:
            loss = learner(batch.ids, batch.labels, batch.pixels) / batch.step_tokens
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
        return sum(batch.ids.numel() for batch in ready), 0.0

    return measured(work)


def compare(base: str, folder: Path) -> str:
    """Both loops by turns, as a table."""
    changes = {"steps": STEPS, "connector_steps": 0, "batch": 16, "accumulate": 1, "checkpoint_steps": 20}
    lake = Lake(small.small_settings(folder, Path(base), **changes))
    small.commit_captions(lake, small.KEY, ROWS)
    run = Run(Distill(), lake, lake.settings, small.KEY)
    _, processor = load_base(lake.settings.distill)
    micro_batches = example_sampler(run, processor).micro_batches(StreamPosition())
    pictures = BatchDataset(lake.settings, image_side(processor), processor.tokenizer.pad_token_id)
    ready = list(islice(load_batches(pictures, micro_batches, 0, pin_memory=False), STEPS))
    pairs = [(bare(lake, ready), ours(lake, number)) for number in range(1, ROUNDS + 1)]
    named = [(name, cost) for pair in pairs for name, cost in zip(("bare", "ours"), pair, strict=True)]
    ratio = statistics.median(other.rate / one.rate for one, other in pairs)
    lines = [
        "| loop | tokens | CPU s | wall s | tokens a CPU second | waiting for data |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {c.tokens} | {c.cpu:.2f} | {c.wall:.2f} | {c.rate:.0f} | {c.share:.1f} % |"
            for name, c in named
        ),
        "",
        f"2 cores, 24 GB. Median of {ROUNDS} pairs: ours makes {ratio:.3f} of the bare loop's tokens a CPU second.",
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--base", default=load(environ={}).settings.distill.base)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = compare(chosen.base, Path(folder))
    chosen.out.write_text(f"# The training loop\n\n{table}", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
