"""Blurs faces, from boxes in whatever form the source gives them."""

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageFilter

Area = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of width and height
_WHOLE: Area = (0.0, 0.0, 1.0, 1.0)
_MOST_OUTSIDE = 0.1  # how far a box may reach over the edge of its image: faces are cut off there
_FRACTIONS = 2.0  # larger numbers are pixels


def face_areas(boxes: Sequence[Any], size: tuple[int, int], xywh: bool = False) -> list[Area]:
    """Return the areas to blur of an image of this size, given the face boxes of its source.

    A box is left, top, right, bottom or, with `xywh`, left, top, width, height; as fractions or in pixels of the image
    as it was received, before it is turned upright. If one box is impossible as left, top, right, bottom, each box of
    the image is read both ways and both areas are blurred. A box that has no sensible reading could be anywhere: the
    area is then the whole image.
    """
    numbers = [_numbers(box) for box in boxes]
    known = [box for box in numbers if box]
    pixels = any(abs(number) > _FRACTIONS for box in known for number in box)
    width, height = size if pixels else (1, 1)
    scaled = [(x0 / width, y0 / height, x1 / width, y1 / height) for x0, y0, x1, y1 in known]
    unclear = not xywh and any(x1 <= x0 or y1 <= y0 for x0, y0, x1, y1 in scaled)
    areas = [_area(box, xywh, unclear) for box in scaled]
    return [_WHOLE] if len(known) < len(numbers) or None in areas else [area for area in areas if area]


def blur(image: Image.Image, areas: Sequence[Area]) -> Image.Image:
    """Blur areas of an image, each enlarged by a tenth of its diagonal."""
    image = image.copy()
    for area in areas:
        left, top, right, bottom = (f * side for f, side in zip(area, image.size * 2, strict=True))
        margin = 0.1 * math.hypot(right - left, bottom - top)
        box = (
            max(math.floor(left - margin), 0),
            max(math.floor(top - margin), 0),
            min(math.ceil(right + margin), image.width),
            min(math.ceil(bottom + margin), image.height),
        )
        image.paste(image.crop(box).filter(ImageFilter.GaussianBlur(max(margin, 2.0))), box)
    return image


def _numbers(box: Any) -> Area | None:
    if not isinstance(box, list | tuple) or len(box) != 4 or None in box or not all(map(math.isfinite, box)):
        return None
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _area(box: Area, xywh: bool, unclear: bool) -> Area | None:
    """Return the area of one box of fractions, clipped to the image; None if it has no sensible reading."""
    x, y, a, b = box
    corners = (min(x, a), min(y, b), max(x, a), max(y, b))
    extent = (x, y, x + a, y + b)
    readings = [extent] if xywh else [corners, extent] if unclear else [corners]
    sensible = [_clipped(reading) for reading in readings if _inside(reading)]
    if not sensible:
        return None
    lefts, tops, rights, bottoms = zip(*sensible, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _inside(area: Area) -> bool:
    left, top, right, bottom = area
    near = all(-_MOST_OUTSIDE <= edge <= 1 + _MOST_OUTSIDE for edge in area)
    return near and right > max(left, 0) and bottom > max(top, 0) and left < 1 and top < 1


def _clipped(area: Area) -> Area:
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in area)
    return left, top, right, bottom
