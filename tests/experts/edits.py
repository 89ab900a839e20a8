"""Edits that make copies of pictures. Thresholds were chosen with KNOWN; nothing was chosen with HELD_OUT."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Edit = Callable[[Image.Image], Image.Image]


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(width * share), int(height * share), int(width * (1 - share)), int(height * (1 - share))))


def scaled(image: Image.Image, share: float) -> Image.Image:
    size = max(1, int(image.width * share)), max(1, int(image.height * share))
    return image.resize(size, Image.Resampling.LANCZOS)


def encoded(image: Image.Image, how: str, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, how, quality=quality)
    return Image.open(out).convert("RGB")


def lettered(image: Image.Image) -> Image.Image:
    made, size = image.copy(), max(10, image.height // 14)
    place = (image.width // 20, image.height - 2 * size)
    ImageDraw.Draw(made).text(place, "www.example.org", "white", ImageFont.load_default(size), stroke_width=1,
                              stroke_fill="black")  # fmt: skip
    return made


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 10, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def warmer(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image) * np.array([1.15, 1.0, 0.85]), 0, 255).astype(np.uint8))


KNOWN: dict[str, Edit] = {
    "half the size": lambda image: scaled(image, 0.5),
    "JPEG, quality 30": lambda image: encoded(image, "JPEG", 30),
    "5 % cropped": lambda image: cropped(image, 0.05),
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "border": lambda image: ImageOps.expand(image, max(4, min(image.size) // 20), "white"),
    "turned": lambda image: cropped(image.rotate(2, Image.Resampling.BICUBIC), 0.04),
}
HELD_OUT: dict[str, Edit] = {
    "a third of the size": lambda image: scaled(image, 1 / 3),
    "WebP, quality 40": lambda image: encoded(image, "WEBP", 40),
    "3 % cropped, JPEG 50": lambda image: encoded(cropped(image, 0.03), "JPEG", 50),
    "an address across it": lettered,
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "noise": noisy,
    "warmer": warmer,
    "black frame": lambda image: ImageOps.expand(image, max(3, min(image.size) // 30), "black"),
}
