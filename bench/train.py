"""What the training loop costs over a bare one on the same tiny model and data; train_gpu.py has the real size."""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from bench.frame import Page
from kale_tasks.bench.measure import Sample, in_turns, ratio, timed
from kale_tasks.distill.batches import BatchDataset, TensorBatch
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import choose_trained, image_side, load_base
from kale_tasks.distill.sampler import START, MicroBatch
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import example_sampler
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan
from kale_tasks.settings import load
from tests.distill import small

ROUNDS, STEPS, CHECKPOINT, ROWS = 7, 48, 24, 600


def ours(lake: Lake, number: int) -> Sample:
    """The step's own loop: data, checkpoints, logs and all; the model's loading is not counted on either side."""
    other_run = lake.settings.with_values({"distill": {"gate": {"rows": number}}})  # that trains on the same batches
    run = Run(Distill("demo"), lake, other_run, small.KEY)
    plan(run)
    loading = timed(lambda: (load_base(run.settings.distill), None)[1])

    def work() -> dict[str, float]:
        run_training(run)
        return {"tokens": run.meter.figures["train_tokens"], "waited": run.meter.figures["train_wait"]}

    whole = timed(work)
    return replace(whole, wall=whole.wall - loading.wall, cpu=whole.cpu - loading.cpu)


def bare(lake: Lake, batches: Callable[[], Iterable[TensorBatch]]) -> Sample:
    """Forward, backward, clip, step on batches that lie in memory, or that torch's own loader makes meanwhile."""
    model, processor = load_base(lake.settings.distill)
    choose_trained(model, connector_only=False, vision=lake.settings.distill.train.vision)
    module = CaptionLoss(model, processor).train()
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 1e-3)

    def work() -> dict[str, float]:
        tokens = 0
        for batch in batches():
            loss = module(batch.ids, batch.labels, batch.pixels) / batch.step_tokens
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
            tokens += batch.ids.numel()
        return {"tokens": tokens, "waited": 0.0}

    return timed(work)


class PlainData(Dataset[TensorBatch]):
    """What any trainer does to make a batch: tokenize prompts and answers, read and decode pictures, pad."""

    def __init__(self, batches: Sequence[MicroBatch], pictures: BatchDataset, tokenizer: Any) -> None:
        self._batches, self._pictures, self._tokenizer = batches, pictures, tokenizer
        self._texts = [[one.text + tokenizer.decode(one.answer) for one in batch.examples] for batch in batches]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> TensorBatch:
        self._tokenizer(self._texts[number], add_special_tokens=False)
        return self._pictures[self._batches[number]]


def compare(page: Page, base: str, folder: Path) -> None:
    """Run the loops in turns and add their table and ratios to the page."""
    torch.set_num_threads(1)
    changes = {"steps": STEPS, "connector_steps": 0, "batch": 16, "accumulate": 1, "checkpoint_steps": CHECKPOINT}
    lake = Lake(small.small_settings(folder, Path(base), **changes, validation_rows=0))
    small.commit_captions(lake, small.KEY, ROWS)
    run = Run(Distill("demo"), lake, lake.settings, small.KEY)
    _, processor = load_base(lake.settings.distill)
    micro_batches = list(islice(example_sampler(run, processor).micro_batches(START), STEPS))
    pictures = BatchDataset(lake.settings, image_side(processor), processor.tokenizer.pad_token_id)
    ready = [pictures[batch] for batch in micro_batches]
    plain = DataLoader(PlainData(micro_batches, pictures, processor.tokenizer), batch_size=None)
    numbers = count(1)
    loops = {
        "bare, batches in memory": lambda: bare(lake, lambda: ready),
        "bare": lambda: bare(lake, lambda: plain),
        "ours": lambda: ours(lake, next(numbers)),
    }
    ours(lake, next(numbers))  # the first imports what it needs
    series = in_turns(loops, ROUNDS)
    page.table(
        ["loop", "tokens", "wall s", "CPU s", "machine", "tokens a CPU second", "waiting for data"],
        [
            (name, f"{one.figure('tokens'):.0f}", *one.cells, f"{one.figure('tokens') / one.cpu:.0f}",
             f"{100 * one.figure('waited') / one.wall:.1f} %")
            for name, one in series.items()
        ],
    )  # fmt: skip
    for name, other in (("", "bare, batches in memory"), ("_same_data", "bare")):
        found = ratio(series["ours"], series[other], lambda sample: sample.figures["tokens"] / sample.cpu)
        page.ratio(f"tokens_per_cpu_second{name}", found)


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
By `python -m bench.train`: the demo's model, {STEPS} steps of 16, float32, one thread. All loops train the same weights
on the same batches. *Bare* is forward, backward, clipping and step; it tokenizes the texts and decodes the pictures of
a batch when it needs them, in the training process itself, or has all batches *in memory*. *Ours* is the step's own
loop: it reads the captions from the lake, leaves out noise and what is held out, draws lessons, shuffles, does the same
in the training process (`workers: 0`), writes {STEPS // CHECKPOINT} checkpoints and logs each step. Neither side counts
the loading of the model. Validation, which no bare loop has, is off. Each ratio is ours divided by bare.
"""

if __name__ == "__main__":
    main()
