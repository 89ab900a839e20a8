"""Scaling: the fast way and Pillow's give the same picture, and the fast one is used where it is installed."""

import platform
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from kale_tasks.images.decode import scaled


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the package has no wheels for this machine")
def test_the_fast_way_is_installed() -> None:
    assert find_spec("cykooz_resizer")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(512, 384), (100, 75), (37, 400), (1, 1)])
def test_both_ways_give_the_same_picture(mode: str, size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(3).integers(60, 190, (48, 64, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).convert(mode)
    result = scaled(image, size)
    assert (result.mode, result.size) == (mode, size)
    pillow = image.resize(size, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(result, dtype=int) - np.asarray(pillow, dtype=int)).max() <= 2
    assert image.size == (640, 480), "the source is left as it is"


def test_a_cropped_and_a_converted_image_can_be_scaled() -> None:
    """Their pixels are held in other ways than those of a decoded image."""
    image = Image.linear_gradient("L").convert("RGB").crop((10, 10, 200, 150))
    assert scaled(image, (95, 70)).getpixel((0, 0)) == pytest.approx((10, 10, 10), abs=2)
