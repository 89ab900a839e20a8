"""ICC profiles and their exact inverse, so that a file can be made whose true colours are known."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_PRIMARIES = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "display-p3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    "adobe-rgb": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "wide-gamut": ((0.7347, 0.2653), (0.1152, 0.8264), (0.1566, 0.0177)),
}
_D65 = (0.3127, 0.3290)


@dataclass(frozen=True)
class Profile:
    """A profile of three primaries and one gamma: its ICC bytes, and the conversions of pixels from and to sRGB."""

    icc: bytes
    from_srgb: Callable[[Pixels], Pixels]
    to_srgb: Callable[[Pixels], Pixels]


def rgb_profile(name: str, gamma: float) -> Profile:
    """Make a profile with the primaries of a well-known space."""
    matrix = _matrix(_PRIMARIES[name])
    to_space = np.linalg.inv(matrix) @ _matrix(_PRIMARIES["srgb"])
    curve = _curve(gamma)
    columns = {tag: _xyz(*matrix[:, i]) for i, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags = {**columns, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"wtpt": _xyz(*_D50)}

    def convert(pixels: Pixels) -> Pixels:
        linear = np.clip(linear_srgb(pixels) @ to_space.T, 0, 1)
        return np.rint(255 * linear ** (1 / gamma)).astype(np.uint8)

    def back(pixels: Pixels) -> Pixels:
        return srgb((pixels / 255) ** gamma @ np.linalg.inv(to_space).T)

    return Profile(_icc(b"RGB ", b"mntr", tags), convert, back)


def grey_profile(gamma: float) -> Profile:
    """Make a grey profile."""

    def convert(pixels: Pixels) -> Pixels:
        return np.rint(255 * linear_srgb(pixels) ** (1 / gamma)).astype(np.uint8)

    def back(pixels: Pixels) -> Pixels:
        return srgb((pixels / 255) ** gamma)

    return Profile(_icc(b"GRAY", b"mntr", {b"kTRC": _curve(gamma), b"wtpt": _xyz(*_D50)}), convert, back)


def cmyk_profile() -> bytes:
    """Make a profile of inks whose mixtures lie between 16 colours (a lookup table of two steps)."""
    nodes = []
    for inks in np.ndindex(2, 2, 2, 2):
        lightness = 95.0 * np.prod([1 - 0.55 * ink for ink in inks[:3]]) * (1 - 0.9 * inks[3])
        a, b = 60.0 * (inks[1] - inks[0]) * (1 - inks[3]), 60.0 * (inks[2] - 0.5 * inks[0]) * (1 - inks[3])
        nodes += [lightness * 655.35 * 0.99609, (a + 128) * 256, (b + 128) * 256]
    head = (
        b"mft2" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    )
    table = struct.pack(">HH", 2, 2) + struct.pack(">8H", *(0, 65535) * 4)
    table += struct.pack(f">{len(nodes)}H", *(int(min(max(n, 0), 65535)) for n in nodes)) + struct.pack(
        ">6H", *(0, 65535) * 3
    )
    return _icc(b"CMYK", b"prtr", {b"A2B0": head + table, b"wtpt": _xyz(*_D50)}, b"Lab ")


def lab_to_srgb(pixels: Pixels) -> Pixels:
    """Convert pixels of CIELAB (white D50), with signed bytes for a and b, to sRGB."""
    lightness = (pixels[..., 0] / 2.55 + 16) / 116
    a, b = (pixels[..., i].view(np.int8) for i in (1, 2))
    f = np.stack([lightness + a / 500, lightness, lightness - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(_D50)
    return srgb(xyz @ np.linalg.inv(_matrix(_PRIMARIES["srgb"])).T)


def srgb(linear: Array) -> Pixels:
    """Return light, 0 to 1, as sRGB pixels."""
    light = np.clip(linear, 0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * value).astype(np.uint8)


def linear_srgb(pixels: Pixels) -> Array:
    """Return the light of sRGB pixels, 0 to 1."""
    value = pixels.astype(np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _matrix(primaries: tuple[tuple[float, float], ...]) -> Array:
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    white = np.array([_D65[0] / _D65[1], 1.0, (1 - sum(_D65)) / _D65[1]])
    scaled = columns * np.linalg.solve(columns, white)
    cones = np.diag((_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white))
    adapted: Array = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ scaled
    return adapted


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _icc(space: bytes, kind: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(padded))
        data += padded
    size = at + len(data)
    head = (
        struct.pack(">I4sI4s4s4s", size, b"    ", 0x02400000, kind, space, connection) + bytes(12) + b"acsp" + bytes(28)
    )
    head += struct.pack(">3i", *(round(v * 65536) for v in _D50)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + data
