"""Pixel truth: files of awkward kinds beside their true colours, which are calculated from the values in the file."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from kale_tasks.images.decode import show
from kale_tasks.imaging import decode_rgb
from kale_tasks.settings import load
from tests.images.profiles import cmyk_profile, grey_profile, lab_to_srgb, rgb_profile

DECODE = load(["images.decode.min_side=1"], environ={}).settings.images.decode
LARGEST = 6  # of 255: half steps of an 8-bit space with another gamma, and rounding in lossy formats
Pixels = npt.NDArray[np.uint8]


def truth() -> Pixels:
    """Return a smooth picture with saturated, dark and light colours."""
    y, x = np.mgrid[0:96, 0:128]
    red, green = 40 + 170 * x / 127, 40 + 170 * y / 95
    return np.stack([red, green, 210 - 0.5 * red - 0.4 * green + 40], -1).clip(20, 235).astype(np.uint8)


TRUE = truth()
GREY = np.asarray(Image.fromarray(TRUE).convert("L"))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encode an image, as faithfully as its format can."""
    out = io.BytesIO()
    best: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True, "exact": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }  # fmt: skip
    image.save(out, kind, **{**best.get(kind, {}), **options})
    return out.getvalue()


def profiled(kind: str, name: str, gamma: float) -> tuple[bytes, Pixels]:
    """Return a file with an RGB profile, and its true colours."""
    profile = rgb_profile(name, gamma)
    data = saved(Image.fromarray(profile.from_srgb(TRUE)), kind, icc_profile=profile.icc)
    return data, profile.to_srgb(np.asarray(Image.open(io.BytesIO(data))))


def grey(kind: str, gamma: float) -> tuple[bytes, Pixels]:
    """Return a file with a grey profile."""
    profile = grey_profile(gamma)
    data = saved(Image.fromarray(profile.from_srgb(GREY)), kind, icc_profile=profile.icc)
    return data, profile.to_srgb(np.asarray(Image.open(io.BytesIO(data))))


def turned(kind: str, orientation: int) -> tuple[bytes, Pixels]:
    """Return a file that is stored turned and says so."""
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(TRUE).transpose(Image.Transpose(inverse))
    return saved(image, kind, exif=exif), TRUE


def on_white(alpha: Pixels, pixels: Pixels = TRUE) -> Pixels:
    """Return pixels laid on white."""
    share = alpha[..., None] / 255 if pixels.ndim == 3 else alpha / 255
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)


def transparent(kind: str, mode: str) -> tuple[bytes, Pixels]:
    """Return a file with a ramp of transparency."""
    alpha = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (96, 1))
    image = Image.fromarray(GREY if mode == "LA" else TRUE)
    image.putalpha(Image.fromarray(alpha))
    return saved(image, kind), on_white(alpha, GREY if mode == "LA" else TRUE)


def profiled_and_transparent() -> tuple[bytes, Pixels]:
    """Return a file with both a profile and transparency."""
    profile, alpha = rgb_profile("display-p3", 2.2), np.full((96, 128), 255, np.uint8)
    alpha[:48] = 0
    image = Image.fromarray(profile.from_srgb(TRUE))
    image.putalpha(Image.fromarray(alpha))
    return saved(image, "PNG", icc_profile=profile.icc), on_white(alpha)


def colour_key(mode: str) -> tuple[bytes, Pixels]:
    """Return a PNG in which one colour is transparent."""
    pixels = (TRUE if mode == "RGB" else GREY).copy()
    pixels[20:60, 30:90] = (255, 0, 255) if mode == "RGB" else 3
    true = pixels.copy()
    true[20:60, 30:90] = 255
    return saved(Image.fromarray(pixels), "PNG", transparency=(255, 0, 255) if mode == "RGB" else 3), true


def palette(kind: str, transparency: bool) -> tuple[bytes, Pixels]:
    """Return a file with a palette, and perhaps a transparent colour."""
    image = Image.fromarray(TRUE).quantize(200)
    true = np.asarray(image.convert("RGB")).copy()
    options: dict[str, Any] = {}
    if transparency:
        index = int(np.asarray(image)[0, 0])
        true[np.asarray(image) == index] = 255
        options["transparency"] = index
    return saved(image, kind, **options), true


def deep(kind: str, mode: str) -> tuple[bytes, Pixels]:
    """Return a grey file with 16 bits or floating-point numbers."""
    values = GREY.astype(np.uint16) * 257 if mode == "I;16" else GREY.astype(np.float32) / 255
    return saved(Image.fromarray(values), kind), GREY


def deep_key() -> tuple[bytes, Pixels]:
    """Return a grey PNG of 16 bits in which one value is transparent."""
    values, true = GREY.astype(np.uint16) * 257, GREY.copy()
    values[:30], true[:30] = 1000, 255
    data = saved(Image.fromarray(values), "PNG")
    return _with_chunk(data, b"tRNS", struct.pack(">H", 1000)), true


def gamma_png(gamma: float) -> tuple[bytes, Pixels]:
    """Return a PNG that gives the gamma of its values."""
    value = TRUE / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    data = saved(Image.fromarray(np.rint(255 * linear**gamma).astype(np.uint8)), "PNG")
    return _with_chunk(data, b"gAMA", struct.pack(">I", round(gamma * 100_000))), TRUE


def inks(kind: str, profile: bytes | None) -> tuple[bytes, Pixels]:
    """Return a CMYK file; without a profile, inks are taken as complements of the colours."""
    image = Image.fromarray(TRUE).convert("CMYK")
    if profile is None:
        return saved(image, kind), np.asarray(image.convert("RGB"))
    srgb = ImageCms.createProfile("sRGB")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    true = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB", flags=ImageCms.Flags.NOOPTIMIZE)  # type: ignore[arg-type]
    assert true
    return saved(image, kind, icc_profile=profile), np.asarray(true)


def lab() -> tuple[bytes, Pixels]:
    """Return a TIFF in CIELAB."""
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(TRUE), *spaces, outputMode="LAB")  # type: ignore[arg-type]
    assert image
    return saved(image, "TIFF"), lab_to_srgb(np.asarray(image))


def wrong_profile(icc: bytes) -> tuple[bytes, Pixels]:
    """Return a file whose profile cannot be used."""
    return saved(Image.fromarray(TRUE), "PNG", icc_profile=icc), TRUE


def one_bit() -> tuple[bytes, Pixels]:
    """Return a PNG of black and white."""
    image = Image.fromarray(GREY).convert("1")
    return saved(image, "PNG"), np.asarray(image.convert("L"))


def _with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    at = png.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:at] + chunk + png[at:]


FILES: dict[str, Callable[[], tuple[bytes, Pixels]]] = {
    "plain jpeg": lambda: (saved(Image.fromarray(TRUE), "JPEG"), TRUE),
    "progressive jpeg": lambda: (saved(Image.fromarray(TRUE), "JPEG", progressive=True), TRUE),
    "srgb profile": lambda: wrong_profile(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    **{
        f"{name} {kind}": lambda n=name, k=kind, g=gamma: profiled(k, n, g)  # type: ignore[misc]
        for name, gamma in (("display-p3", 2.2), ("adobe-rgb", 2.2), ("wide-gamut", 1.8))
        for kind in ("JPEG", "PNG", "WEBP", "TIFF")
    },
    "display-p3 AVIF": lambda: profiled("AVIF", "display-p3", 2.2),
    "srgb primaries, gamma 1.8": lambda: profiled("PNG", "srgb", 1.8),
    "grey gamma 1.8 JPEG": lambda: grey("JPEG", 1.8),
    "grey gamma 1.4 PNG": lambda: grey("PNG", 1.4),
    **{f"orientation {o} JPEG": lambda o=o: turned("JPEG", o) for o in range(2, 9)},  # type: ignore[misc]
    **{f"orientation {o} {k}": lambda o=o, k=k: turned(k, o) for o, k in ((6, "PNG"), (8, "WEBP"), (5, "TIFF"))},  # type: ignore[misc]
    "orientation 6 AVIF": lambda: turned("AVIF", 6),
    **{f"alpha {m} {k}": lambda k=k, m=m: transparent(k, m) for k, m in
       (("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("AVIF", "RGBA"))},  # type: ignore[misc]
    "alpha with display-p3": profiled_and_transparent,
    "colour key RGB": lambda: colour_key("RGB"),
    "colour key L": lambda: colour_key("L"),
    "colour key of 16 bits": deep_key,
    "palette PNG": lambda: palette("PNG", False),
    "palette PNG, one transparent": lambda: palette("PNG", True),
    "palette GIF, one transparent": lambda: palette("GIF", True),
    "16 bits PNG": lambda: deep("PNG", "I;16"),
    "16 bits TIFF": lambda: deep("TIFF", "I;16"),
    "floating-point TIFF": lambda: deep("TIFF", "F"),
    "one bit": one_bit,
    "gamma 1.0 PNG": lambda: gamma_png(0.6),
    "gamma 1/2.2 PNG": lambda: gamma_png(0.45455),
    "CMYK JPEG": lambda: inks("JPEG", None),
    "CMYK TIFF": lambda: inks("TIFF", None),
    "CMYK JPEG with profile": lambda: inks("JPEG", cmyk_profile()),
    "CMYK TIFF with profile": lambda: inks("TIFF", cmyk_profile()),
    "LAB TIFF": lab,
    "BMP": lambda: (saved(Image.fromarray(TRUE), "BMP"), TRUE),
    "broken profile": lambda: wrong_profile(b"no profile at all"),
    "profile of another space": lambda: wrong_profile(cmyk_profile()),
}  # fmt: skip


def difference(name: str) -> int:
    """Return the largest difference of any pixel between a decoded file and the truth, of 255."""
    data, true = FILES[name]()
    shown = show(data, (), DECODE.model_copy(update={"quality": 100}))
    image = shown.image if shown.copied is None else decode_rgb(data)
    found = np.asarray(image.convert("RGB") if true.ndim == 3 else image.convert("L"), dtype=np.int16)
    return int(np.abs(found - true).max())


@pytest.mark.parametrize("name", FILES)
def test_an_image_is_stored_as_a_viewer_shows_it(name: str) -> None:
    assert difference(name) <= LARGEST


if __name__ == "__main__":
    for name in FILES:
        print(difference(name), name)
