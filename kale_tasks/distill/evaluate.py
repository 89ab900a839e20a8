"""A student captions held-out images as stage 2 does; its captions are measured beside its teacher's."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kale_tasks.distill.batches import BatchDataset, on_device
from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.examples import TrainingExample
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.engines.base import ENGINES, IMAGE_BROKEN, Model, Request, open_engine, seed_of
from kale_tasks.engines.thought import without_thought
from kale_tasks.imaging import BrokenImage, fit
from kale_tasks.lake.shards import read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.caption import Caption


@dataclass(frozen=True)
class GeneratedCaption:
    """What a model wrote for a held-out sample."""

    sample: CaptionSample
    text: str


def judging_engine(settings: Caption) -> str:
    """Name the engine that captions for the gate: that of stage 2, if it can run a student that no server has yet."""
    return settings.engine if ENGINES.find(settings.engine).loads else "transformers"


def caption_samples(
    lake: Lake, settings: Caption, model: Model, samples: Sequence[CaptionSample]
) -> list[GeneratedCaption]:
    """Let a model caption the images of samples with the engine, the prompt and the sampling of stage 2.

    Images that cannot be decoded are left out. A request that fails otherwise is an empty caption.
    """
    of = settings.model_copy(update={"engine": judging_engine(settings)})
    with open_engine(of, model) as engine:
        engine.start()
        found = {
            answer.id: without_thought(answer, model.task) for answer in engine.answers(_requests(lake, model, samples))
        }
    return [
        GeneratedCaption(sample, found[number].text.strip())
        for number, sample in enumerate(samples)
        if number in found and found[number].reason != IMAGE_BROKEN
    ]


def _requests(lake: Lake, model: Model, samples: Sequence[CaptionSample]) -> Iterator[Request]:
    task, images = model.task, read_images(lake, [sample.span for sample in samples])
    for number, (sample, data) in enumerate(zip(samples, images, strict=True)):
        try:
            image = fit(data, task.image_side)
        except BrokenImage:
            continue
        messages, seed = task.prompt.messages({"alt": sample.alt}, image=True), seed_of(sample.uid, task)
        yield Request(number, messages, image, task.sampling.temperature, seed)


def caption_bits(
    model: Any, processor: Any, dataset: BatchDataset, examples: Sequence[TrainingExample], batch: int
) -> list[tuple[float, int]]:
    """Return a model's loss on the teacher's captions in bits, and their characters, of each batch of examples."""
    module = CaptionLoss(model, processor).eval()
    found = []
    for at in range(0, len(examples), batch):
        one = dataset.encode(examples[at : at + batch])
        if one is None:
            continue
        with torch.inference_mode():
            loss = float(module(*(on_device(part, model.device) for part in one[1:])))
        found.append((loss / math.log(2), sum(len(example.sample.caption) for example in one.examples)))
    return found


def bits_per_character(found: Sequence[tuple[float, int]]) -> float:
    """Return the loss per character of all batches."""
    return round(sum(bits for bits, _ in found) / max(1, sum(characters for _, characters in found)), 4)
