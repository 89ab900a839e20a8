"""What the training loop costs over a bare one on the same tiny model and batches; train_gpu.py has the real size."""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import torch

from bench.frame import Page
from kale_tasks.bench.measure import Sample, in_turns, ratio, timed
from kale_tasks.distill.batches import BatchDataset, TensorBatch, load_batches
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import freeze_unused, image_side, load_base
from kale_tasks.distill.sampler import StreamPosition
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import example_sampler
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan
from kale_tasks.settings import load
from tests.distill import small

ROUNDS, STEPS, ROWS = 3, 24, 600


def ours(lake: Lake, number: int) -> Sample:
    """The step's own loop: data, checkpoints, logs and all; the model's loading is not counted on either side."""
    settings = lake.settings.distill.train.model_copy(update={"seed": number})
    changed = lake.settings.model_copy(update={"distill": lake.settings.distill.model_copy(update={"train": settings})})
    run = Run(Distill("demo"), lake, changed, small.KEY)
    plan(run)
    loading = timed(lambda: (load_base(run.settings.distill), None)[1])

    def work() -> dict[str, float]:
        run_training(run)
        return {"tokens": run.meter.figures["train_tokens"], "waited": run.meter.figures["train_wait"]}

    whole = timed(work)
    return replace(whole, wall=whole.wall - loading.wall, cpu=whole.cpu - loading.cpu)


def bare(lake: Lake, ready: Sequence[TensorBatch]) -> Sample:
    """Forward, backward, clip, step on batches that lie in memory."""
    model, processor = load_base(lake.settings.distill)
    freeze_unused(model)
    module = CaptionLoss(model, processor).train()
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 1e-3)

    def work() -> dict[str, float]:
        for batch in ready:
            loss = module(batch.ids, batch.labels, batch.pixels) / batch.step_tokens
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
        return {"tokens": sum(batch.ids.numel() for batch in ready), "waited": 0.0}

    return timed(work)


def compare(page: Page, base: str, folder: Path) -> None:
    """Run both loops in turns and add their table and ratio to the page."""
    torch.set_num_threads(1)
    changes = {"steps": STEPS, "connector_steps": 0, "batch": 16, "accumulate": 1, "checkpoint_steps": 20}
    lake = Lake(small.small_settings(folder, Path(base), **changes))
    small.commit_captions(lake, small.KEY, ROWS)
    run = Run(Distill("demo"), lake, lake.settings, small.KEY)
    _, processor = load_base(lake.settings.distill)
    micro_batches = example_sampler(run, processor).micro_batches(StreamPosition())
    pictures = BatchDataset(lake.settings, image_side(processor), processor.tokenizer.pad_token_id)
    ready = list(islice(load_batches(pictures, micro_batches, 0, pin_memory=False), STEPS))
    seeds = count(1)
    series = in_turns({"bare": lambda: bare(lake, ready), "ours": lambda: ours(lake, next(seeds))}, ROUNDS)
    page.table(
        ["loop", "tokens", "wall s", "CPU s", "machine", "tokens a CPU second", "waiting for data"],
        [
            (name, f"{one.figure('tokens'):.0f}", *one.cells, f"{one.figure('tokens') / one.cpu:.0f}",
             f"{100 * one.figure('waited') / one.wall:.1f} %")
            for name, one in series.items()
        ],
    )  # fmt: skip
    page.ratio("tokens_per_cpu_second", ratio(series["ours"], series["bare"], lambda s: s.figures["tokens"] / s.cpu))


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=load(environ={}).settings.distill.base)
    given = parser.parse_args()
    page = Page("train", "The training loop", _ABOUT, ["torch", "transformers"])
    with tempfile.TemporaryDirectory() as folder:
        compare(page, given.base, Path(folder))
    page.write()


_ABOUT = f"""
By `python -m bench.train`: the demo's model from random weights, {STEPS} steps of 16, float32, one thread, pictures
decoded by the training process itself (`workers: 0`). *Bare* has its batches in memory; *ours* is the step's own
loop with data, checkpoints and logs. Loading the model is not counted. The ratio is ours divided by bare.
"""

if __name__ == "__main__":
    main()
