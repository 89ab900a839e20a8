"""Opens images of unknown origin: only the format that the first bytes show is tried, and the size is capped."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

SNIFFED_BYTES = 32  # enough to tell the type
MAX_PIXELS = 178_956_970  # the default at which Pillow refuses an image
_SIGNATURES = [
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
]
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` is the limit, half of it is not


class BrokenImage(Exception):
    """Bytes that cannot be decoded as an image."""


def image_type(head: bytes) -> str | None:
    """Return the MIME type that the first `SNIFFED_BYTES` show; None if it is not supported."""
    return next((mime for at, magic, mime in _SIGNATURES if head[at : at + len(magic)] == magic), None)


@contextmanager
def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image without decoding its pixels.

    Raises DecompressionBombError above `max_pixels`; decoders may raise any exception on malformed data.
    """
    mime = image_type(data[:SNIFFED_BYTES])
    if mime is None:
        raise UnidentifiedImageError(f"no supported image type begins with {data[:12]!r}")
    Image.MAX_IMAGE_PIXELS = max_pixels // 2  # Pillow refuses at twice this number
    with Image.open(io.BytesIO(data), formats=[mime.removeprefix("image/").upper()]) as image:
        yield image


def decode_rgb(data: bytes) -> Image.Image:
    """Decode an image to RGB; raises BrokenImage."""
    try:
        with open_image(data) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders may raise anything
        raise BrokenImage(f"{type(error).__name__}: {error}") from error


def fit(data: bytes, side: int) -> bytes:
    """Return a JPEG whose longer side is at most `side`; the same bytes if the image is small enough or `side` is 0.

    Raises BrokenImage; the pixels of an image that is returned unchanged are not decoded.
    """
    try:
        with open_image(data) as image:
            if not side or max(image.size) <= side:
                return data
            image.draft("RGB", (side, side))
            scaled = image.convert("RGB")
            scaled.thumbnail((side, side), Image.Resampling.LANCZOS)
    except Exception as error:  # decoders may raise anything
        raise BrokenImage(f"{type(error).__name__}: {error}") from error
    buffer = io.BytesIO()
    scaled.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
