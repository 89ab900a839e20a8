"""Images as engines take them: checked, and no larger than the recipe wants."""

import io
import warnings

from PIL import Image

warnings.simplefilter("error", Image.DecompressionBombWarning)


class BrokenImage(Exception):
    """Bytes that are no image."""


def fit(data: bytes, side: int) -> bytes:
    """The same bytes if they look like an image small enough, else a scaled JPEG; BrokenImage if they are none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not side or max(image.size) <= side:
                return data
            image.draft("RGB", (side, side))
            scaled = image.convert("RGB")
            scaled.thumbnail((side, side), Image.Resampling.LANCZOS)
    except Exception as error:  # decoders raise whatever they like
        raise BrokenImage(f"{type(error).__name__}: {error}") from error
    buffer = io.BytesIO()
    scaled.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    """The pixels; BrokenImage if there are none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except Exception as error:  # decoders raise whatever they like
        raise BrokenImage(f"{type(error).__name__}: {error}") from error
