"""Opens images of unknown origin, and shows them as a viewer does: upright, in sRGB, transparent parts on white.

Only the decoder of the format that the first bytes show is tried, and the number of pixels is limited.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

SNIFFED_BYTES = 64  # enough to tell the type
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
]
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}
# Brands of ISO media files. `mif1` and `msf1` say only that there are images; a later brand says of which kind.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heif"),
}
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # the colour space that a profile must have, by mode
_MAX_PROFILE = 4 << 20  # bytes; profiles of printers have up to 3 MB
_USUAL_GAMMA = 0.4545, 0.02  # a PNG gamma this close to 1/2.2 is that of sRGB
_FAST, _EXACT = ImageCms.Flags.HIGHRESPRECALC, ImageCms.Flags.NOOPTIMIZE  # tables of inks are too coarse if optimised
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` is the limit, half of it is not


class BrokenImage(Exception):
    """Bytes that cannot be decoded as an image."""


class Rendering(NamedTuple):
    """What an image says about how it is shown: its EXIF orientation, its ICC profile, the gamma of a PNG."""

    orientation: int = 1
    profile: bytes = b""
    gamma: float | None = None

    @property
    def plain(self) -> bool:
        """Whether the pixels are shown as they are stored."""
        return self == Rendering()


def image_type(head: bytes) -> str | None:
    """Return the MIME type that the first `SNIFFED_BYTES` show; None if it is not supported."""
    if head[4:8] == b"ftyp":
        found = _media_type(head)
        return found if found != "image/heif" or heif_installed() else None
    return next((mime for at, magic, mime in _SIGNATURES if head[at : at + len(magic)] == magic), None)


def file_ending(data: bytes) -> str:
    """Return the ending of a file with this image, without its dot; `bin` for what not every viewer shows."""
    return _ENDINGS.get(image_type(data[:SNIFFED_BYTES]) or "", "bin")


@lru_cache(maxsize=1)
def heif_installed() -> bool:
    """Return whether HEIC can be decoded: pillow-heif is optional, because its decoders have licences of their own."""
    try:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return False
    register_heif_opener()
    return True


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


def rendering(image: Image.Image) -> Rendering:
    """Return how an image is to be shown. Call it once the pixels are loaded: TIFF and PNG have metadata after them."""
    orientation = 1
    with suppress(Exception):  # malformed EXIF data; what it says about the camera is not needed
        orientation = image.getexif().get(_ORIENTATION, 1)
    profile = image.info.get("icc_profile") or b""
    gamma = image.info.get("gamma") if not profile and "srgb" not in image.info else None
    usual = not isinstance(gamma, float) or not 0.05 < gamma < 5 or abs(gamma - _USUAL_GAMMA[0]) < _USUAL_GAMMA[1]
    return Rendering(
        orientation if orientation in _UPRIGHT else 1,
        profile if isinstance(profile, bytes) and _transform(profile, _profiled_mode(image.mode)) else b"",
        None if usual else gamma,
    )


def flat(image: Image.Image) -> Image.Image:
    """Convert a loaded image to 8 bits, with transparent parts on white, to mode RGB, L or CMYK."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        below = Image.new("RGB", image.size, "white")
        below.paste(layer, mask=layer.getchannel("A"))
        return below.getchannel("R") if image.mode in ("L", "LA", "La", "1") else below
    if image.mode in _SPACES:
        return image
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_transform()) or image
    return image.convert("L" if image.mode == "1" else "RGB")


def to_srgb(image: Image.Image, shown: Rendering) -> Image.Image:
    """Convert the colours of an image that `flat` returned to sRGB, in mode RGB or L."""
    transform = _transform(shown.profile, image.mode) if shown.profile else None
    if transform is not None:
        converted = ImageCms.applyTransform(image, transform) or image
        return converted.getchannel("G") if image.mode == "L" else converted
    if image.mode == "CMYK":
        return image.convert("RGB")
    if shown.gamma is not None:
        return image.point(_gamma_table(shown.gamma) * len(image.getbands()))
    return image


def upright(image: Image.Image, shown: Rendering) -> Image.Image:
    """Turn an image as its EXIF orientation says."""
    return image.transpose(_UPRIGHT[shown.orientation]) if shown.orientation in _UPRIGHT else image


def decode_rgb(data: bytes) -> Image.Image:
    """Decode an image to RGB, as a viewer shows it; raises BrokenImage."""
    try:
        with open_image(data) as image:
            return _as_shown(image).convert("RGB")
    except Exception as error:  # decoders may raise anything
        raise BrokenImage(f"{type(error).__name__}: {error}") from error


def fit(data: bytes, side: int) -> bytes:
    """Return a JPEG, shown as a viewer shows the image, whose longer side is at most `side` (0: any).

    The same bytes are returned if they need no change; their pixels are then not decoded. Raises BrokenImage.
    """
    try:
        with open_image(data) as image:
            small = not side or max(image.size) <= side
            if small and image.mode in ("RGB", "L") and "transparency" not in image.info and rendering(image).plain:
                return data
            if not small:
                image.draft("RGB", (side, side))
            shown = _as_shown(image)
    except Exception as error:  # decoders may raise anything
        raise BrokenImage(f"{type(error).__name__}: {error}") from error
    if not small:
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.convert("RGB").save(buffer, "JPEG", quality=95, exif=b"", icc_profile=None, comment=b"")
    return buffer.getvalue()


def _as_shown(image: Image.Image) -> Image.Image:
    image.load()
    shown = rendering(image)
    return upright(to_srgb(flat(image), shown), shown)


def _media_type(head: bytes) -> str | None:
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)


def _eight_bits(image: Image.Image) -> Image.Image:
    deep = np.asarray(image, dtype=np.float64)
    white = 65535.0 if image.mode.startswith("I") else _white(deep)
    pixels = np.rint(np.clip(np.nan_to_num(deep) * (255.0 / white), 0, 255)).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        pixels[deep == key] = 255
    return Image.fromarray(pixels)


def _white(deep: "np.ndarray[Any, Any]") -> float:
    """Return the value of white in a floating-point image: 1 or 255, or its brightest pixel if that is larger."""
    brightest = float(np.nanmax(deep))
    return next((white for white in (1.0, 255.0) if brightest <= white), brightest)


def _profiled_mode(mode: str) -> str:
    """Return the mode that `flat` gives to an image of this mode."""
    if mode in ("L", "LA", "La", "1", "F", "I") or mode.startswith("I;16"):
        return "L"
    return mode if mode == "CMYK" else "RGB"


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; None if the profile is broken, of another space, or sRGB itself."""
    if not profile or len(profile) > _MAX_PROFILE or mode not in _SPACES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", flags=_EXACT if mode == "CMYK" else _FAST)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * (1 if mode == "L" else 3)), -1).reshape(1, -1, 1 if mode == "L" else 3)
    sample = Image.fromarray(grid[:, :, 0] if mode == "L" else grid)
    changed = ImageCms.applyTransform(sample, transform)
    difference = np.asarray(changed, dtype=np.int16) - np.asarray(sample.convert("RGB"), dtype=np.int16)
    return bool(np.abs(difference).max() <= 2)


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.createProfile("sRGB")  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB", flags=_EXACT)


@lru_cache(maxsize=16)
def _gamma_table(gamma: float) -> list[int]:
    linear = np.linspace(0, 1, 256) ** (1 / gamma)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return [int(value) for value in np.rint(encoded * 255)]
