"""A student captions held-out images; its captions are measured beside its teacher's."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from kale_tasks.distill.batches import BatchDataset, pad_examples, pad_rows
from kale_tasks.distill.examples import ExampleEncoder, TrainingExample
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.metrics import GeneratedCaption
from kale_tasks.engines.transformers import generate_tokens


def generate_captions(
    model: Any, processor: Any, encoder: ExampleEncoder, dataset: BatchDataset, examples: Sequence[TrainingExample],
    batch: int, max_tokens: int,
) -> tuple[list[GeneratedCaption], float]:  # fmt: skip
    """Let a model caption the examples greedily, in batches.

    Return the captions, and the loss of the teacher's captions in bits per character.
    """
    module = CaptionLoss(model, processor).eval()
    pad_id = processor.tokenizer.pad_token_id
    captions: list[GeneratedCaption] = []
    loss, characters = 0.0, 0
    for at in range(0, len(examples), batch):
        good, images = dataset.decode_images(examples[at : at + batch])
        if not good:
            continue
        pixels = torch.stack(images).to(model.device)
        with torch.inference_mode():
            ids, labels = pad_examples(good, pad_id)
            loss += float(module(ids.to(model.device), labels.to(model.device), pixels))
        characters += sum(len(example.sample.caption) for example in good)
        rows = _generate(module, good, pixels, pad_id, max_tokens)
        captions += [GeneratedCaption(e.sample, encoder.decode(row)) for e, row in zip(good, rows, strict=True)]
    return captions, round(loss / math.log(2) / max(1, characters), 4)


def _generate(
    module: CaptionLoss, examples: Sequence[TrainingExample], pixels: torch.Tensor, pad_id: int, max_tokens: int
) -> list[list[int]]:
    inputs = {
        "input_ids": pad_rows([example.prompt for example in examples], pad_id, side="left").to(pixels.device),
        "attention_mask": pad_rows([[1] * len(e.prompt) for e in examples], 0, side="left").to(pixels.device),
        "pixel_values": module.normalize(pixels),
    }
    return generate_tokens(module.model, inputs, max_tokens, do_sample=False, pad_token_id=pad_id)
