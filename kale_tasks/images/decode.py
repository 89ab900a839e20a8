"""Converts bytes of unknown origin to plain JPEGs; called only in decode workers, which have limits."""

import io
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from kale_tasks.images.faces import Area, blur, face_areas
from kale_tasks.images.jpeg import without_metadata
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.imaging import SNIFFED_BYTES, flat, image_type, open_image, rendering, to_srgb, upright

if TYPE_CHECKING:
    from kale_tasks.settings.images import Decode  # takes longer to import than all the rest

# Formats that are images but cannot be decoded here: HEIC without its decoder, ICO, PSD, JPEG XL (two forms).
_UNSUPPORTED = [
    (4, b"ftyp"),
    (0, b"\x00\x00\x01\x00"),
    (0, b"8BPS"),
    (0, b"\xff\x0a"),
    (4, b"JXL "),
]
FACES_BLURRED = "faces_blurred"
_HASH_SIDE, _HASH_BITS = 32, 8
_HASHED_SIDE = 2 * _HASH_SIDE  # an image that is only hashed is decoded at no less than this
_ROWS = np.arange(_HASH_BITS)[:, None] * (2 * np.arange(_HASH_SIDE)[None, :] + 1)
_FAST_MODES = ("RGB", "L", "CMYK")
_Scale = Callable[[Image.Image, tuple[int, int]], Image.Image]
_COSINES = np.cos(np.pi * _ROWS / (2 * _HASH_SIDE))


class ImageInfo(NamedTuple):
    """What is known of a decoded image; width, height and hash are those of the image as it will be stored."""

    mime: str
    width: int
    height: int
    phash: int
    flags: list[str]
    seconds: dict[str, float]


class Shown(NamedTuple):
    """A decoded image as a viewer shows it, and its size as it is stored.

    With `copied`, bytes to store that need no encoding, the size is that of the received image; `image` may be smaller.
    """

    image: Image.Image
    size: tuple[int, int]
    mime: str
    flags: list[str]
    copied: bytes | None


def supported_type(head: bytes) -> str:
    """Return the MIME type that the first bytes show; ImageError if it is not one that can be decoded."""
    if mime := image_type(head):
        return mime
    start = head.lstrip()[:5].lower()
    if start in (b"<svg ", b"<?xml") or any(head[offset : offset + len(m)] == m for offset, m in _UNSUPPORTED):
        raise ImageError(Reason.UNSUPPORTED_TYPE, repr(head[:12]))
    raise ImageError(Reason.NOT_AN_IMAGE if head else Reason.EMPTY, repr(head[:12]))


def convert(raw: bytes, boxes: Sequence[Any], settings: "Decode") -> tuple[ImageInfo, bytes]:
    """Convert an image to the JPEG that is stored: upright, in sRGB, of limited size, without metadata, faces blurred.

    The pixels of a JPEG that needs no change are copied, not encoded again. With `originals`, the received bytes are
    stored as they are unless faces must be blurred. `boxes` are those of `faces.face_areas`.
    """
    began = time.perf_counter()
    shown = show(raw, boxes if settings.faces != "off" else (), settings)
    decoded = time.perf_counter()
    stored = _encoded(shown.image, settings) if shown.copied is None else shown.copied
    seconds = {"decode": decoded - began, "encode": time.perf_counter() - decoded}
    return ImageInfo(shown.mime, *shown.size, perceptual_hash(shown.image), shown.flags, seconds), stored


def show(raw: bytes, boxes: Sequence[Any], settings: "Decode", keep: bool = False) -> Shown:
    """Decode an image as `convert` stores it, or as it is with `keep`; ImageError if a limit forbids it."""
    mime = supported_type(raw[:SNIFFED_BYTES])
    detect = settings.faces == "detect" and not (boxes or keep)
    with open_image(raw, settings.max_pixels) as image:
        _check_size(image.size, settings)
        received, areas = image.size, face_areas(boxes, image.size, settings.face_boxes == "xywh")
        size = _stored_size(received, settings)
        flags = ["animated"] if getattr(image, "is_animated", False) and image.format != "MPO" else []
        copied = None if areas else raw if keep or settings.originals else _plain_jpeg(image, raw, size)
        if mime == "image/jpeg":
            _reduce(image, size if copied is None or detect else (_HASHED_SIDE, _HASHED_SIDE))
        image.load()
        how = rendering(image)
        small = flat(image)
        if small.size != size and copied is None:
            small = scaled(small, size)
        result = upright(_blurred(to_srgb(small, how), areas), how)
    if detect and (areas := _found_faces(result)):
        if copied is not None and result.size != (upright_size := _turned(size, how.orientation)):
            result = scaled(result, upright_size)
        result, copied = blur(result, areas), None
    stored = result.size if copied is None else received
    if min(stored) < settings.min_side:
        raise ImageError(Reason.TOO_SMALL, f"{stored[0]}x{stored[1]}")
    return Shown(result, stored, mime, [*flags, *([FACES_BLURRED] if areas else [])], copied)


def inspect(raw: bytes, settings: "Decode") -> ImageInfo:
    """Decode an image that is kept as it is (adopted)."""
    began = time.perf_counter()
    shown = show(raw, (), settings, keep=True)
    return ImageInfo(
        shown.mime, *shown.size, perceptual_hash(shown.image), shown.flags, {"decode": time.perf_counter() - began}
    )


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale an image by bicubic convolution, with the processor's vector units where a package for that is installed.

    Pillow's way differs by 2 of 255 levels at most, in noise by more.
    """
    if image.mode in _FAST_MODES and _FAST_SCALE is not None:
        return _FAST_SCALE(image, size)
    return image.resize(size, Image.Resampling.BICUBIC)


def perceptual_hash(image: Image.Image) -> int:
    """Return a 64-bit hash of the low frequencies of an image; near copies differ in few bits."""
    grey = image.reduce(max(1, min(image.size) // _HASHED_SIDE)).convert("L")
    small = grey.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BILINEAR)
    waves = _COSINES @ np.asarray(small, dtype=np.float64) @ _COSINES.T
    values = np.rint(waves.ravel())[1:]  # whole numbers, so that ties come out the same on every machine
    bits = np.append(values > np.median(values), False)
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def _check_size(size: tuple[int, int], settings: "Decode") -> None:
    width, height = size
    if width * height > settings.max_pixels:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{width}x{height}")
    if min(width, height) < settings.min_side:
        raise ImageError(Reason.TOO_SMALL, f"{width}x{height}")


def _stored_size(size: tuple[int, int], settings: "Decode") -> tuple[int, int]:
    """Return the size to which an image is scaled down; never up."""
    side = {"longer": max(size), "shorter": min(size), "none": 0}[settings.resize]
    if side <= settings.max_side:
        return size
    width, height = (max(1, round(length * settings.max_side / side)) for length in size)
    return width, height


def _found_faces(image: Image.Image) -> list[Area]:
    from kale_tasks.experts.faces import FACE_SCORE, face_detector  # most decode processes do without it

    return [face.box for face in face_detector().find(image, FACE_SCORE)]


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the size of an image once it is upright."""
    return size[::-1] if orientation >= 5 else size


def _plain_jpeg(image: Image.Image, raw: bytes, size: tuple[int, int]) -> bytes | None:
    """Return the bytes to store for an opened image if its pixels need no change."""
    plain = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and image.size == size
    return without_metadata(raw) if plain and rendering(image).plain else None


def _reduce(image: Image.Image, size: tuple[int, int]) -> None:
    """Let the JPEG decoder scale by 2, 4 or 8, to no less than a size: far cheaper than scaling afterwards."""
    image.draft("L" if image.mode == "L" else "RGB", size)


def _blurred(image: Image.Image, areas: Sequence[Area]) -> Image.Image:
    return blur(image, areas) if areas else image


def _encoded(image: Image.Image, settings: "Decode") -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=settings.quality, exif=b"", icc_profile=None, comment=b"")
    return out.getvalue()


def _fast_scale() -> _Scale | None:
    try:
        from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer  # type: ignore[import-untyped]
    except ImportError:
        return None
    resizer, options = Resizer(), ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.catmull_rom))

    def scale(image: Image.Image, size: tuple[int, int]) -> Image.Image:
        result = Image.new(image.mode, size)
        resizer.resize_pil(image, result, options)
        return result

    return scale


_FAST_SCALE = _fast_scale()
