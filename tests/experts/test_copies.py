"""Edited copies of photographs are found by the perceptual hash or by the vector, and nothing else is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from kale_tasks.experts.tags import EfficientNet
from kale_tasks.images.decode import perceptual_hash
from tests.experts.edits import HELD_OUT, KNOWN, Edit
from tests.experts.photographs import decoded, others, shown

pytestmark = pytest.mark.xdist_group("experts")
COSINE, BITS = 0.85, 3


def hashes(images: Sequence[Image.Image]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.array([perceptual_hash(image) for image in images], dtype=np.int64).view(np.uint64)


def found(images: Sequence[Image.Image], edits: Mapping[str, Edit]) -> dict[str, tuple[float, float, float]]:
    """The share of edited copies that are found by hash, by vector and by either."""
    torch.set_num_threads(1)
    model, shares = EfficientNet(), {}
    vectors, known = model.see(images).vectors, hashes(images)
    for name, edit in edits.items():
        copies = [edit(image) for image in images]
        by_vector = (vectors * model.see(copies).vectors).sum(1) >= COSINE
        by_hash = np.bitwise_count(known ^ hashes(copies)) <= BITS
        both = by_hash, by_vector, by_hash | by_vector
        shares[name] = tuple(round(float(share.mean()), 2) for share in both)
    return shares  # type: ignore[return-value]


def wrong_pairs(named: Mapping[str, Image.Image]) -> set[frozenset[str]]:
    """The pairs of different pictures that count as copies."""
    torch.set_num_threads(1)
    images = list(named.values())
    vectors, known = EfficientNet().see(images).vectors, hashes(images)
    alike = (vectors @ vectors.T >= COSINE) | (np.bitwise_count(known[:, None] ^ known[None]) <= BITS)
    names = [name.rpartition("/")[2].removesuffix(".webp") for name in named]
    return {frozenset((names[a], names[b])) for a, b in zip(*np.nonzero(np.triu(alike, 1)), strict=True)}


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.nightly)])
def test_copies_are_found_by_hash_or_vector(every: int) -> None:
    shares = found(list(decoded(512).values())[::every], KNOWN)
    print(shares)
    assert min(either for _, _, either in shares.values()) >= (0.95 if every == 1 else 0.85), shares


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_edits_and_pictures_that_no_threshold_was_chosen_with() -> None:
    of_photographs = found(list(decoded(512).values()), HELD_OUT)
    of_others = found(list(shown(others(), 512).values()), KNOWN | HELD_OUT)
    print(of_photographs, of_others)
    assert np.mean([either for _, _, either in of_photographs.values()]) >= 0.9
    assert np.mean([either for _, _, either in of_others.values()]) >= 0.9


@pytest.mark.nightly
def test_different_photographs_are_no_copies() -> None:
    assert wrong_pairs(decoded(512)) == {
        frozenset(("brandenburgGate",)), frozenset(("colosseum",)), frozenset(("greatPyramid", "greatPyramidOfGiza")),
    }  # fmt: skip
