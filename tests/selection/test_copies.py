"""Copies are those of all pairs whose cosine is high enough, however rows are divided; evaluation images are known."""

from pathlib import Path

import numpy as np
import pytest

from kale_tasks.selection.copies import NONE, Basis, Block, CopySearch, first_copies
from kale_tasks.selection.vectors import STEPS, Floats, Vectors, in_steps, product
from tests.selection.points import clustered, steps, stored, unit, with_copies

NOTHING = np.zeros((0, 0), np.float32)


def slowly(vectors: Floats, cosine: float) -> list[int]:
    """The first earlier row of each row, by the plain definition."""
    whole = np.round(vectors.astype(np.float64) * STEPS)
    near = np.tril(whole @ whole.T >= product(cosine), -1)
    return [int(np.argmax(row)) if row.any() else NONE for row in near]


def found(vectors: Vectors, cosine: float) -> list[int]:
    basis = Basis.of(vectors.sample(np.ones(sum(rows for _, rows in vectors.files), bool), 500))
    search = CopySearch(vectors, basis, product(cosine), True, NOTHING)
    return [one for block in range(len(vectors.blocks)) for one in search(block)["copy_of"].to_pylist()]


@pytest.mark.parametrize("spread", [0.1, 0.6, 1.5])  # nearly all rows are alike, some, few
def test_the_first_copy_of_each_row_is_found_whatever_the_blocks(tmp_path: Path, spread: float) -> None:
    made, copies = with_copies(clustered(1200, 160, 20, seed=1, spread=spread), 150, seed=2)
    expected = slowly(made, 0.9)
    assert {at for at, one in enumerate(expected) if one != NONE} >= set(copies)
    assert found(stored(tmp_path, made, part_rows=100, block_rows=300), 0.9) == expected
    assert found(stored(tmp_path, made, part_rows=100), 0.9) == expected


def test_pairs_that_a_few_directions_do_not_tell_apart_are_compared_in_more(tmp_path: Path) -> None:
    made, copies = with_copies(clustered(700, 1280, 9, seed=8, spread=1.2), 60, seed=9)  # noise in all directions
    expected = slowly(made, 0.9)
    assert {at for at, one in enumerate(expected) if one != NONE} >= set(copies)
    assert found(stored(tmp_path, made, part_rows=100, block_rows=300), 0.9) == expected


def test_a_product_does_not_depend_on_order_or_shape() -> None:
    rng = np.random.default_rng(3)
    vectors = steps(unit(rng.standard_normal((64, 1280)).astype(np.float32)))
    one = vectors @ vectors.T
    order = rng.permutation(1280)
    assert (one == vectors[:, order] @ vectors[:, order].T).all()
    assert all((one[at] == vectors @ vectors[at]).all() for at in range(64))
    assert (one == (vectors.astype(np.int64) @ vectors.astype(np.int64).T)).all()


def test_steps_change_a_cosine_by_less_than_a_thousandth() -> None:
    vectors = clustered(300, 1280, 10, seed=4)
    rounded = in_steps(vectors)
    assert np.abs(rounded @ rounded.T - vectors @ vectors.T).max() < 0.001


def test_copies_of_evaluation_images_are_known_and_only_they(tmp_path: Path) -> None:
    made = clustered(600, 160, 40, seed=5, spread=1.5)
    rng = np.random.default_rng(6)
    chosen = np.sort(rng.choice(600, 30, replace=False))
    evaluation = unit(made[chosen] + 0.1 * unit(rng.standard_normal((30, 160)).astype(np.float32)))
    vectors = stored(tmp_path, made)
    search = CopySearch(vectors, Basis.of(steps(made)), product(0.95), False, steps(evaluation))
    assert np.flatnonzero(search(0)["evaluation"].to_numpy(zero_copy_only=False)).tolist() == chosen.tolist()
    assert set(search(0)["copy_of"].to_pylist()) == {NONE}  # nobody asked for copies


def test_fewer_dimensions_than_directions_are_fine() -> None:
    made = steps(clustered(50, 8, 5, seed=7))
    rows, others = (Block(made, Basis.of(made)) for _ in range(2))
    assert first_copies(rows, others, product(0.9)).tolist() == [
        int(np.argmax(row)) for row in made @ made.T >= product(0.9)
    ]
