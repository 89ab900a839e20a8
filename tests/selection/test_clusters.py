"""Clusters are those that were planted, and their rows are shared out evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.selection.clusters import centres, nearest, quotas
from tests.selection.points import clustered, steps


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 500))
def test_quotas_are_even_and_add_up(sizes: list[int], wanted: int) -> None:
    found, of = quotas(np.array(sizes), wanted), np.array(sizes)
    assert (found <= of).all() and found.sum() == min(wanted, of.sum())
    # Whoever has fewer than another has no more rows, or is one behind.
    for mine, size in zip(found, of, strict=True):
        assert mine == size or mine >= found.max() - 1


@pytest.mark.parametrize("seed", range(3))
def test_planted_clusters_are_found(seed: int) -> None:
    rows = steps(clustered(2000, 96, 12, seed, spread=0.4))
    cluster, closeness = nearest(rows, centres(rows, 40))
    again, _ = nearest(rows, centres(rows, 40))
    assert (cluster == again).all()
    # Rows of a cluster are nearer to each other than to those of others.
    products = rows @ rows.T
    same = cluster[:, None] == cluster[None]
    assert np.median(products[same]) > np.percentile(products[~same], 95)
    assert (closeness == (rows * centres(rows, 40)[cluster]).sum(1)).all()


def test_more_clusters_than_rows_give_each_row_its_own() -> None:
    rows = steps(clustered(5, 32, 5, seed=9, spread=1.5))
    assert sorted(nearest(rows, centres(rows, 50))[0].tolist()) == [0, 1, 2, 3, 4]
