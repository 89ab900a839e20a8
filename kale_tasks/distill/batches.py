"""Batches for the model: pictures read and decoded ahead by worker processes, in the order of the stream."""

import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from kale_tasks.distill.sampler import Lesson, Position, Share
from kale_tasks.errors import BadData
from kale_tasks.lake.shards import read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.model import Settings

IGNORED = -100


class Batch(NamedTuple):
    """One forward pass: token ids, what of them is learned, pictures as bytes of pixels."""

    ids: torch.Tensor
    labels: torch.Tensor
    pixels: torch.Tensor
    after: Position
    step_tokens: int


class Pictures(Dataset[Batch]):
    """Turns a share of lessons into a batch; every worker opens the lake for itself."""

    def __init__(self, settings: Settings, side: int, pad: int) -> None:
        self._settings, self._side, self._pad = settings, side, pad

    def __getitem__(self, share: Any) -> Batch:
        lessons, pixels = self.decoded(share.lessons)
        if not lessons:
            raise BadData(f"None of {len(share.lessons)} pictures can be read, such as {share.lessons[0].taught.uid}.")
        return Batch(*padded(lessons, self._pad), torch.stack(pixels), share.after, share.step_tokens)

    def decoded(self, lessons: Sequence[Lesson]) -> tuple[list[Lesson], list[torch.Tensor]]:
        """The lessons whose picture can be decoded, and those pictures."""
        data = read_images(self._lake, [lesson.span for lesson in lessons])
        pairs = ((lesson, pixels_of(image, self._side)) for lesson, image in zip(lessons, data, strict=True))
        good = [(lesson, pixels) for lesson, pixels in pairs if pixels is not None]
        return [lesson for lesson, _ in good], [pixels for _, pixels in good]

    @cached_property
    def _lake(self) -> Lake:
        return Lake(self._settings)


def padded(lessons: Sequence[Lesson], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of whole lessons, filled up behind, and the labels of their answers."""
    longest = max(lesson.tokens for lesson in lessons)
    ids = torch.full((len(lessons), longest), pad)
    labels = torch.full_like(ids, IGNORED)
    for row, lesson in enumerate(lessons):
        ids[row, : lesson.tokens] = torch.tensor(lesson.question + lesson.answer)
        labels[row, len(lesson.question) : lesson.tokens] = torch.tensor(lesson.answer)
    return ids, labels


def pixels_of(data: bytes, side: int) -> torch.Tensor | None:
    """A picture as (3, side, side) bytes; None if it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(side, side, 3).permute(2, 0, 1).contiguous()


def batches(pictures: Pictures, shares: Iterator[Share], workers: int, pin: bool) -> Iterator[Batch]:
    """Batches in the order of the shares, however many workers make them."""
    loader = DataLoader(
        pictures,
        sampler=shares,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_it_is,
        pin_memory=pin,
        generator=torch.Generator(),  # its own: torch's stays as the checkpoint knows it
    )
    return iter(loader)


def _as_it_is(batch: Any) -> Any:
    return batch
