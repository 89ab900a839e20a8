"""Converts bytes of unknown origin to plain JPEGs; called only in decode workers, which have limits."""

import io
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.imaging import SNIFFED_BYTES, image_type, open_image
from kale_tasks.settings.images import Decode

# Formats that are images but cannot be decoded here: HEIC, ICO, PSD, JPEG XL (two forms).
_UNSUPPORTED = [
    (4, b"ftyp"),
    (0, b"\x00\x00\x01\x00"),
    (0, b"8BPS"),
    (0, b"\xff\x0a"),
    (4, b"JXL "),
]
_HASH_SIDE, _HASH_BITS = 32, 8
_ROWS = np.arange(_HASH_BITS)[:, None] * (2 * np.arange(_HASH_SIDE)[None, :] + 1)
_COSINES = np.cos(np.pi * _ROWS / (2 * _HASH_SIDE))


class ImageInfo(NamedTuple):
    """What is known of a decoded image; width, height and hash are those of the image as it will be stored."""

    mime: str
    width: int
    height: int
    phash: int
    flags: list[str]
    seconds: dict[str, float]


def supported_type(head: bytes) -> str:
    """Return the MIME type that the first bytes show; ImageError if it is not one that can be decoded."""
    if mime := image_type(head):
        return mime
    start = head.lstrip()[:5].lower()
    if start in (b"<svg ", b"<?xml") or any(head[offset : offset + len(m)] == m for offset, m in _UNSUPPORTED):
        raise ImageError(Reason.UNSUPPORTED_TYPE, repr(head[:12]))
    raise ImageError(Reason.NOT_AN_IMAGE if head else Reason.EMPTY, repr(head[:12]))


def convert(raw: bytes, boxes: Sequence[Sequence[float]], settings: Decode) -> tuple[ImageInfo, bytes]:
    """Convert an image to the JPEG that is stored: upright, of limited size, without metadata, with faces blurred.

    `boxes` are faces as (left, top, right, bottom), each a fraction of width or height before rotation.
    """
    began = time.perf_counter()
    image, mime, flags = _load(raw, settings, reduce=True)
    if boxes and settings.blur_faces:
        image = _blurred(image.convert("RGB") if image.mode != "RGB" else image, boxes)
        flags.append("faces_blurred")
    image = ImageOps.exif_transpose(image)
    if max(image.size) > settings.max_side:
        image.thumbnail((settings.max_side, settings.max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    if min(image.size) < settings.min_side:
        raise ImageError(Reason.TOO_SMALL, f"{image.width}x{image.height}")
    decoded = time.perf_counter()
    out = io.BytesIO()
    image.save(out, "JPEG", quality=settings.quality, exif=b"", icc_profile=None, comment=b"")
    seconds = {"decode": decoded - began, "encode": time.perf_counter() - decoded}
    return ImageInfo(mime, image.width, image.height, perceptual_hash(image), flags, seconds), out.getvalue()


def inspect(raw: bytes, settings: Decode) -> ImageInfo:
    """Decode an image that is kept as it is (adopted)."""
    began = time.perf_counter()
    image, mime, flags = _load(raw, settings, reduce=False)
    return ImageInfo(mime, *image.size, perceptual_hash(image), flags, {"decode": time.perf_counter() - began})


def perceptual_hash(image: Image.Image) -> int:
    """Return a 64-bit hash of the low frequencies of an image; near copies differ in few bits."""
    small = image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    waves = _COSINES @ np.asarray(small, dtype=np.float64) @ _COSINES.T
    values = np.rint(waves.ravel())[1:]  # whole numbers, so that ties come out the same on every machine
    bits = np.append(values > np.median(values), False)
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def _load(raw: bytes, settings: Decode, reduce: bool) -> tuple[Image.Image, str, list[str]]:
    mime = supported_type(raw[:SNIFFED_BYTES])
    with open_image(raw, settings.max_pixels) as image:
        _check_size(image.size, settings)
        if reduce and mime == "image/jpeg":
            image.draft("RGB" if image.mode != "L" else "L", (settings.max_side, settings.max_side))
        flags = ["animated"] if getattr(image, "is_animated", False) else []
        image.load()
        return _plain(image), mime, flags


def _check_size(size: tuple[int, int], settings: Decode) -> None:
    width, height = size
    if width * height > settings.max_pixels:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{width}x{height}")
    if min(width, height) < settings.min_side:
        raise ImageError(Reason.TOO_SMALL, f"{width}x{height}")


def _plain(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB or grey, alpha laid on white; EXIF is kept, since it holds the orientation."""
    if image.mode in ("RGB", "L"):
        return image
    exif = image.getexif()
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        deep = np.asarray(image, dtype=np.float64)
        white = 65535.0 if image.mode.startswith("I") else _white(deep)
        plain = Image.fromarray(np.clip(np.nan_to_num(deep) * (255.0 / white), 0, 255).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        plain = Image.new("RGB", image.size, "white")
        plain.paste(layer, mask=layer.getchannel("A"))
    else:
        plain = image.convert("RGB")
    plain.getexif().update(exif)
    return plain


def _white(deep: "np.ndarray[Any, Any]") -> float:
    """Return the value of white in a floating-point image: 1 or 255, or its brightest pixel if that is larger."""
    brightest = float(np.nanmax(deep))
    return next((white for white in (1.0, 255.0) if brightest <= white), brightest)


def _blurred(image: Image.Image, boxes: Sequence[Sequence[float]]) -> Image.Image:
    """Blur each box, enlarged by a tenth of its diagonal."""
    for box in boxes:
        left, top, right, bottom = _pixels(box, image.size)
        margin = 0.1 * math.hypot(right - left, bottom - top)
        area = _clipped((left - margin, top - margin, right + margin, bottom + margin), image.size)
        if area[2] > area[0] and area[3] > area[1]:
            image.paste(image.crop(area).filter(ImageFilter.GaussianBlur(max(margin, 2.0))), area)
    return image


def _pixels(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    if not box or len(box) != 4 or not all(v is not None and math.isfinite(v) for v in box):
        return 0.0, 0.0, float(size[0]), float(size[1])  # an invalid box could be anywhere: blur the whole image
    x = sorted(min(max(float(v), 0.0), 1.0) * size[0] for v in (box[0], box[2]))
    y = sorted(min(max(float(v), 0.0), 1.0) * size[1] for v in (box[1], box[3]))
    return x[0], y[0], x[1], y[1]


def _clipped(area: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = area
    return max(int(left), 0), max(int(top), 0), min(math.ceil(right), size[0]), min(math.ceil(bottom), size[1])
