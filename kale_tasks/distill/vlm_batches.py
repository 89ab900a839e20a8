"""Batches for existing vision-language models: their own processor prepares images of any size, with its tokens."""

from collections.abc import Sequence
from typing import Any

import torch

from kale_tasks.distill.batches import IGNORED, BatchDataset, Encoded, pad_rows
from kale_tasks.distill.examples import TrainingExample
from kale_tasks.distill.model import image_side, is_fixed_size
from kale_tasks.imaging import BrokenImage, decode_rgb
from kale_tasks.settings.model import Settings


class ProcessedBatches(BatchDataset):
    """Turns micro-batches into what a processor makes of texts and images, with the answers behind."""

    def __init__(self, settings: Settings, processor: Any) -> None:
        super().__init__(settings, 0, processor.tokenizer.pad_token_id)
        self._processor = processor

    def encode(self, examples: Sequence[TrainingExample]) -> Encoded | None:
        """Encode the examples whose image can be decoded; None if there is none."""
        found = [(example, image) for example, image in zip(examples, self._images(examples), strict=True) if image]
        if not found:
            return None
        good, images = [example for example, _ in found], [[image] for _, image in found]
        made = dict(
            self._processor(
                text=[example.text for example in good], images=images, padding=True, padding_side="right",
                add_special_tokens=False, return_tensors="pt",
            )
        )  # fmt: skip
        ids, mask = made.pop("input_ids"), made.pop("attention_mask").bool()
        prompts = [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]
        whole = [prompt + example.answer for prompt, example in zip(prompts, good, strict=True)]
        labels = [[IGNORED] * len(prompt) + e.answer for prompt, e in zip(prompts, good, strict=True)]
        width = max(map(len, whole))
        inputs = {name: _widened(value, ids.shape, width) for name, value in made.items()}
        inputs["attention_mask"] = pad_rows([[1] * len(row) for row in whole], 0)
        return Encoded(good, pad_rows(whole, self._pad_id), pad_rows(labels, IGNORED), inputs)

    def _images(self, examples: Sequence[TrainingExample]) -> list[Any]:
        images: list[Any] = []
        for data in self.read(examples):
            try:
                images.append(decode_rgb(data))
            except BrokenImage:
                images.append(None)
        return images


def _widened(value: torch.Tensor, of_tokens: torch.Size, width: int) -> torch.Tensor:
    """What says something of each token gets a 0 for those of the answers."""
    if value.shape != of_tokens:
        return value
    return torch.nn.functional.pad(value, (0, width - value.shape[1]))[:, :width]


def open_dataset(settings: Settings, processor: Any) -> BatchDataset:
    """Return the batches for a model, by its processor."""
    if is_fixed_size(processor):
        return BatchDataset(settings, image_side(processor), processor.tokenizer.pad_token_id)
    return ProcessedBatches(settings, processor)
