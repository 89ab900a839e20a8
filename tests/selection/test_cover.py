"""Ten percent of a collection covers what is in it, by clusters that the selection does not know."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from kale_tasks.experts.tags import EfficientNet
from kale_tasks.selection.choose import Selection, Wanted, choose
from kale_tasks.selection.clusters import centres, nearest
from kale_tasks.selection.engine import DuckEngine
from kale_tasks.selection.vectors import Floats, product
from kale_tasks.world.draw import draw
from kale_tasks.world.scene import make_scene
from tests.experts.photographs import flat
from tests.selection.points import known, steps, stored

pytestmark = pytest.mark.xdist_group("experts")
STAMPS = Path(__file__).parents[2] / ".cache/stamps/usr/share/tuxpaint/stamps"


def scenes(count: int) -> list[Image.Image]:
    rng = Random("cover")
    return [draw(make_scene(rng)) for _ in range(count)]


def stamps() -> list[Image.Image]:
    if not STAMPS.is_dir():
        raise FileNotFoundError(f"{STAMPS} is missing: run scripts/stamps.")
    found = []
    for path in sorted(STAMPS.rglob("*.png")):
        image = flat(Image.open(io.BytesIO(path.read_bytes())))
        image.thumbnail((256, 256))
        found.append(image)
    return found


@cache
def seen(pictures: Callable[[], list[Image.Image]]) -> Floats:
    torch.set_num_threads(1)
    return EfficientNet().see(pictures()).vectors


def selected(folder: Path, vectors: Floats, *, diverse: bool = False) -> Selection:
    wanted = Wanted(product(0.85), share=0.1, diverse=diverse)
    nothing = np.zeros((0, 0), np.float32)
    return choose(DuckEngine("1GB"), stored(folder, vectors), known(len(vectors)), wanted, nothing)


def covered(vectors: Floats, kept: "np.ndarray[tuple[int], np.dtype[np.int64]]", clusters: int) -> float:
    """The share of other clusters, made with other starts, that have a kept row."""
    rows = steps(vectors)[np.random.default_rng(5).permutation(len(vectors))]
    cluster, _ = nearest(steps(vectors), centres(rows, clusters))
    return len(set(cluster[kept])) / len(set(cluster))


@pytest.mark.nightly
@pytest.mark.parametrize("pictures", [
    pytest.param(lambda: scenes(300), id="the sample world"),
    pytest.param(lambda: scenes(2000), id="more of the sample world"),
    pytest.param(stamps, id="stamps"),
])  # fmt: skip
@pytest.mark.parametrize("diverse", [False, True])
def test_a_tenth_covers_the_clusters(pictures: Callable[[], list[Image.Image]], diverse: bool, tmp_path: Path) -> None:
    vectors = seen(pictures)
    found = selected(tmp_path, vectors, diverse=diverse)
    kept = np.flatnonzero([not rule for rule in found.rules])
    assert len(kept) == round(0.1 * len(vectors))
    own = found.cover["clusters_covered"] / found.cover["clusters"]
    clusters = int(found.cover["clusters"]) // 2  # coarser ones, of as many rows as a tenth can be expected to meet
    by_chance = [
        covered(vectors, np.random.default_rng(seed).choice(len(vectors), len(kept), replace=False), clusters)
        for seed in range(20)
    ]
    others = covered(vectors, kept, clusters)
    print(f"{len(vectors)} pictures, diverse {diverse}: own {own:.3f}, others {others:.3f}, "
          f"by chance {np.mean(by_chance):.3f}")  # fmt: skip
    assert own >= 0.95
    assert others > np.mean(by_chance)
