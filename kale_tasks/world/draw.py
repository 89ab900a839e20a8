"""Draws scenes at 120 by 120 pixels, the input size of the tiny models, so that nothing is ever resized."""

import io
from random import Random

from PIL import Image, ImageDraw, ImageFont

from kale_tasks.world.scene import CELLS, Scene, Thing

SIDE = 120
QUALITY = 92
_SCALE = 2  # drawn twice as large, then reduced for smooth edges
_CELL = SIDE / 3
_Colour = tuple[int, int, int]
_PALETTE: dict[str, _Colour] = {
    "red": (208, 32, 38),
    "green": (28, 140, 56),
    "blue": (34, 76, 196),
    "yellow": (240, 208, 24),
    "purple": (124, 40, 160),
    "orange": (244, 132, 16),
    "pink": (246, 130, 180),
    "brown": (122, 78, 42),
    "white": (252, 252, 252),
    "grey": (186, 188, 192),
    "cream": (246, 232, 196),
    "mint": (190, 236, 212),
}
# Each kind is a list of (shape, points in a unit square, shade): "body" is the thing's colour, "dark" half of it.
_KINDS: dict[str, list[tuple[str, list[tuple[float, float]], str]]] = {
    "tower": [
        ("polygon", [(0.34, 0.3), (0.66, 0.3), (0.74, 1), (0.26, 1)], "body"),
        ("polygon", [(0.22, 0.3), (0.5, 0), (0.78, 0.3)], "dark"),
    ],
    "house": [
        ("polygon", [(0.1, 0.45), (0.9, 0.45), (0.9, 1), (0.1, 1)], "body"),
        ("polygon", [(0, 0.45), (0.5, 0.05), (1, 0.45)], "dark"),
        ("polygon", [(0.42, 0.65), (0.6, 0.65), (0.6, 1), (0.42, 1)], "dark"),
    ],
    "boat": [
        ("polygon", [(0, 0.66), (1, 0.66), (0.8, 1), (0.2, 1)], "body"),
        ("polygon", [(0.46, 0), (0.46, 0.6), (0.95, 0.6)], "body"),
        ("polygon", [(0.4, 0), (0.46, 0), (0.46, 0.66), (0.4, 0.66)], "dark"),
    ],
    "car": [
        ("polygon", [(0, 0.48), (1, 0.48), (1, 0.8), (0, 0.8)], "body"),
        ("polygon", [(0.18, 0.48), (0.32, 0.2), (0.68, 0.2), (0.82, 0.48)], "body"),
        ("ellipse", [(0.1, 0.65), (0.38, 0.93)], "dark"),
        ("ellipse", [(0.62, 0.65), (0.9, 0.93)], "dark"),
    ],
    "tree": [
        ("polygon", [(0.42, 0.6), (0.58, 0.6), (0.58, 1), (0.42, 1)], "dark"),
        ("ellipse", [(0.08, 0), (0.92, 0.7)], "body"),
    ],
    "cup": [
        ("ellipse", [(0.45, 0.32), (1, 0.8)], "body"),
        ("ellipse", [(0.57, 0.44), (0.88, 0.68)], "light"),
        ("polygon", [(0, 0.12), (0.72, 0.12), (0.6, 1), (0.12, 1)], "body"),
    ],
    "clock": [
        ("ellipse", [(0, 0), (1, 1)], "body"),
        ("ellipse", [(0.18, 0.18), (0.82, 0.82)], "light"),
        ("polygon", [(0.46, 0.26), (0.54, 0.26), (0.54, 0.46), (0.74, 0.46), (0.74, 0.54), (0.46, 0.54)], "dark"),
    ],
    "bridge": [
        ("polygon", [(0, 0.3), (1, 0.3), (1, 0.5), (0, 0.5)], "body"),
        *(("polygon", [(x, 0.5), (x + 0.14, 0.5), (x + 0.14, 0.9), (x, 0.9)], "body") for x in (0.02, 0.43, 0.84)),
    ],
}


def draw(scene: Scene) -> Image.Image:
    """Return the image of a scene. Equal scenes give equal images."""
    rng = Random(scene.wobble)
    ground = _PALETTE[scene.ground]
    image = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE), ground)
    pen = ImageDraw.Draw(image)
    _pattern(pen, scene.pattern, _shade(ground, 0.86), rng.randrange(16))
    for thing in scene.things:
        _thing(pen, thing, rng)
    if scene.digits:
        _digits(pen, scene.digits, scene.digits_cell, rng)
    return image.reduce(_SCALE)


def jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    """Encode an image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def placeholder() -> bytes:
    """Return the grey image that many URLs serve in place of a deleted one."""
    image = Image.new("RGB", (SIDE, SIDE), (228, 228, 228))
    pen = ImageDraw.Draw(image)
    centre = (SIDE / 2, SIDE / 2)
    pen.text(centre, "no image\navailable", fill=(120, 120, 120), anchor="mm", align="center", font_size=18)
    return jpeg(image)


def _shade(colour: _Colour, factor: float) -> _Colour:
    red, green, blue = (round(channel * factor) for channel in colour)
    return red, green, blue


def _pattern(pen: ImageDraw.ImageDraw, pattern: str, colour: _Colour, shift: int) -> None:
    side = SIDE * _SCALE
    if pattern == "striped":
        for y in range(shift - 16, side, 32):
            pen.rectangle((0, y, side, y + 14), fill=colour)
    elif pattern == "dotted":
        for y in range(shift - 16, side, 32):
            for x in range(shift - 16, side, 32):
                pen.ellipse((x, y, x + 12, y + 12), fill=colour)
    elif pattern == "checked":
        for row, y in enumerate(range(shift - 32, side, 32)):
            for x in range(shift - 64 + 32 * (row % 2), side, 64):
                pen.rectangle((x, y, x + 31, y + 31), fill=colour)


def _middle(cell: str, rng: Random) -> tuple[float, float]:
    row, column = divmod(CELLS.index(cell), 3)
    return _CELL * (column + 0.5) + rng.uniform(-1.5, 1.5), _CELL * (row + 0.5) + rng.uniform(-1.5, 1.5)


def _thing(pen: ImageDraw.ImageDraw, thing: Thing, rng: Random) -> None:
    side = rng.uniform(34, 37) if thing.size == "large" else rng.uniform(19, 22)
    x, y = _middle(thing.cell, rng)
    body = _PALETTE[thing.colour]
    shades = {"body": body, "dark": _shade(body, 0.45), "light": (255, 255, 255)}
    for tool, points, shade in _KINDS[thing.kind]:
        spots = [((x + (px - 0.5) * side) * _SCALE, (y + (py - 0.5) * side) * _SCALE) for px, py in points]
        getattr(pen, tool)(spots, fill=shades[shade])


def _digits(pen: ImageDraw.ImageDraw, digits: str, cell: str, rng: Random) -> None:
    x, y = (value * _SCALE for value in _middle(cell, rng))
    pen.rectangle((x - 37, y - 26, x + 37, y + 26), fill=(255, 255, 255))
    font = ImageFont.load_default(52)
    pen.text((x, y), digits, fill=(0, 0, 0), anchor="mm", font=font)
