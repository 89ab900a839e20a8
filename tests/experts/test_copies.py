"""Edited copies of photographs are found by the perceptual hash or by the vector, and nothing else is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image

from kale_tasks.experts.tags import EfficientNet
from kale_tasks.images.decode import perceptual_hash
from kale_tasks.selection.places import LOOK, PHASH, entries, look_bits
from kale_tasks.selection.vectors import Floats
from tests.experts.edits import HELD_OUT, KNOWN, Edit
from tests.experts.photographs import decoded, others, shown
from tests.selection.points import steps

pytestmark = pytest.mark.xdist_group("experts")
COSINE, BITS = 0.85, 3
Longs = "np.ndarray[Any, np.dtype[np.int64]]"


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


def shared(vectors: Floats, phashes: Longs, others: Floats, other_phashes: Longs) -> "np.ndarray[Any, Any]":
    """Which of some rows would be found among others by their places, as rows of earlier keys are."""
    mine, rows = entries(vectors, phashes)
    theirs, of = entries(others, other_phashes)
    found = np.zeros((len(vectors), len(others)), bool)
    for kind, bits in ((LOOK, look_bits(COSINE)), (PHASH, BITS)):
        one, other = (table.filter(pc.equal(table["kind"], kind)) for table in (mine, theirs))
        row, place = (at[pc.equal(table["kind"], kind).to_numpy()] for at, table in ((rows, mine), (of, theirs)))
        a, b = np.nonzero(one["hash"].to_numpy()[:, None] == other["hash"].to_numpy()[None])
        differ = sum(
            np.bitwise_count((one[half].to_numpy()[a] ^ other[half].to_numpy()[b]).view(np.uint64)).astype(int)
            for half in ("sketch_a", "sketch_b")
        )
        found[row[a[differ <= bits]], place[b[differ <= bits]]] = True
    return found


@pytest.mark.nightly
@pytest.mark.parametrize("every", [4, 16])
def test_most_copies_are_found_in_other_keys_and_nothing_else_is(every: int) -> None:
    torch.set_num_threads(1)
    model, images = EfficientNet(), list(decoded(512).values())[::every]
    vectors, known = steps(model.see(images).vectors), hashes(images).view(np.int64)
    shares = {}
    for name, edit in (KNOWN | HELD_OUT).items():
        copies = [edit(image) for image in images]
        found = shared(steps(model.see(copies).vectors), hashes(copies).view(np.int64), vectors, known)
        shares[name] = round(float(found.diagonal().mean()), 2)
        assert not (found & ~np.eye(len(images), dtype=bool)).any(), name
    print(shares)
    assert np.mean(list(shares.values())) >= 0.7, shares


@pytest.mark.nightly
@pytest.mark.parametrize("every", [1, 16])
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
