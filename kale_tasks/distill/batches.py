"""Batches as tensors. Worker processes read and decode the images ahead; the order is that of the sampler."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from kale_tasks.distill.examples import TrainingExample
from kale_tasks.distill.sampler import MicroBatch, StreamPosition
from kale_tasks.errors import BadData
from kale_tasks.imaging import BrokenImage, decode_rgb
from kale_tasks.lake.preview import open_lake
from kale_tasks.lake.shards import read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.model import Settings

IGNORED = -100  # label of a token that carries no loss
_PREFETCHED = 4  # batches per worker


Pixels = torch.Tensor | Mapping[str, torch.Tensor]  # images as bytes, or what a processor made of them


class Encoded(NamedTuple):
    """Examples with their token ids, their labels (IGNORED except for the answers) and their images."""

    examples: Sequence[TrainingExample]
    ids: torch.Tensor
    labels: torch.Tensor
    pixels: Pixels


class TensorBatch(NamedTuple):
    """One forward pass: token ids, labels and images."""

    ids: torch.Tensor
    labels: torch.Tensor
    pixels: Pixels
    after: StreamPosition
    step_tokens: int


class BatchDataset(Dataset[TensorBatch]):
    """Turns micro-batches into tensors. Every worker process opens the lake for itself."""

    def __init__(self, settings: Settings, side: int, pad_id: int) -> None:
        self._settings, self._side, self._pad_id = settings, side, pad_id

    def __getitem__(self, batch: Any) -> TensorBatch:
        found = self.encode(batch.examples)
        if found is None:
            first = batch.examples[0].sample.uid
            raise BadData(f"None of the {len(batch.examples)} images of a batch can be decoded, the first is {first}.")
        return TensorBatch(found.ids, found.labels, found.pixels, batch.after, batch.step_tokens)

    def encode(self, examples: Sequence[TrainingExample]) -> Encoded | None:
        """Encode the examples whose image can be decoded; None if there is none."""
        decoded = [decode_pixels(image, self._side) for image in self.read(examples)]
        good = [one for one, pixels in zip(examples, decoded, strict=True) if pixels is not None]
        if not good:
            return None
        images = torch.stack([pixels for pixels in decoded if pixels is not None])
        return Encoded(good, *pad_examples(good, self._pad_id), images)

    def read(self, examples: Sequence[TrainingExample]) -> list[bytes]:
        """Read the images of examples."""
        return list(read_images(self._lake, [example.span for example in examples]))

    @cached_property
    def _lake(self) -> Lake:
        return open_lake(self._settings)


def on_device(part: Pixels, device: torch.device) -> Any:
    """Return tensors on a device, without waiting for them."""
    if isinstance(part, torch.Tensor):
        return part.to(device, non_blocking=True)
    return {name: value.to(device, non_blocking=True) for name, value in part.items()}


def pad_examples(examples: Sequence[TrainingExample], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and labels of whole examples, padded at the end to the longest."""
    ids = [example.prompt + example.answer for example in examples]
    labels = [[IGNORED] * len(example.prompt) + example.answer for example in examples]
    return pad_rows(ids, pad_id), pad_rows(labels, IGNORED)


def pad_rows(rows: Sequence[Sequence[int]], value: int, side: str = "right") -> torch.Tensor:
    """Pad rows of token ids to the longest, on the right or on the left."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value, padding_side=side)


def decode_pixels(data: bytes, side: int) -> torch.Tensor | None:
    """Decode an image to (3, side, side) bytes, resizing it if needed. Returns None if it cannot be decoded."""
    try:
        image = decode_rgb(data)
    except BrokenImage:
        return None
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(side, side, 3).permute(2, 0, 1).contiguous()


def load_batches(
    dataset: BatchDataset, micro_batches: Iterator[MicroBatch], workers: int, pin_memory: bool
) -> Iterator[TensorBatch]:
    """Yield the micro-batches as tensors, in their order, whatever the number of workers."""
    loader = DataLoader(
        dataset,
        sampler=micro_batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_PREFETCHED if workers else None,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # leaves the global random state alone, which checkpoints contain
    )
    return iter(loader)


def _unchanged(batch: Any) -> Any:
    return batch
