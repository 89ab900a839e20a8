"""Edited copies of photographs are found by the perceptual hash or by the vector, and nothing else is."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from kale_tasks.experts.tags import EfficientNet
from kale_tasks.images.decode import perceptual_hash
from tests.experts.photographs import decoded

pytestmark = pytest.mark.xdist_group("experts")
COSINE, BITS = 0.85, 3


def jpeg(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=30)
    return Image.open(out).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(width * share), int(height * share), int(width * (1 - share)), int(height * (1 - share))))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "JPEG, quality 30": jpeg,
    "5 % cropped": lambda image: cropped(image, 0.05),
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "border": lambda image: ImageOps.expand(image, max(4, min(image.size) // 20), "white"),
    "turned": lambda image: cropped(image.rotate(2, Image.Resampling.BICUBIC), 0.04),
}


def hashes(images: Sequence[Image.Image]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.array([perceptual_hash(image) for image in images], dtype=np.int64).view(np.uint64)


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.nightly)])
def test_copies_are_found_by_hash_or_vector(every: int) -> None:
    torch.set_num_threads(1)
    model, images = EfficientNet(), list(decoded(512).values())[::every]
    vectors, known, missed = model.see(images).vectors, hashes(images), {}
    for name, edit in EDITS.items():
        copies = [edit(image) for image in images]
        by_vector = (vectors * model.see(copies).vectors).sum(1) >= COSINE
        by_hash = np.bitwise_count(known ^ hashes(copies)) <= BITS
        missed[name] = 1 - float((by_vector | by_hash).mean())
    assert max(missed.values()) <= (0.05 if every == 1 else 0.15), missed


@pytest.mark.nightly
def test_different_photographs_are_no_copies() -> None:
    torch.set_num_threads(1)
    images = decoded(512)
    vectors, known = EfficientNet().see(list(images.values())).vectors, hashes(list(images.values()))
    alike = (vectors @ vectors.T >= COSINE) | (np.bitwise_count(known[:, None] ^ known[None]) <= BITS)
    names = [name.rpartition("/")[2].removesuffix(".webp") for name in images]
    found = {frozenset((names[a], names[b])) for a, b in zip(*np.nonzero(np.triu(alike, 1)), strict=True)}
    assert found == {
        frozenset(("brandenburgGate",)), frozenset(("colosseum",)), frozenset(("greatPyramid", "greatPyramidOfGiza")),
    }  # fmt: skip
