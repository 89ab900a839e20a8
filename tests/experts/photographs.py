"""Photographs of the Debian package gcompris-qt-data, with the texts that the program shows beside them."""

import io
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from PIL import Image

FOLDER = Path("/usr/share/gcompris-qt/rcc")
_SETS = ("explore_monuments", "explore_world_animals", "explore_farm_animals", "explore_world_music", "categorization")
_ENTRY = re.compile(r'"image2":\s*"[^"]*/([\w.]+)"')
_TEXT = re.compile(r'"text":\s*qsTr\("((?:[^"\\]|\\.)*)"\)')


def resources(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and bytes of each file in a compiled Qt resource."""
    file = FOLDER / f"{name}.rcc"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: run scripts/system test, or install gcompris-qt-data.")
    data = file.read_bytes()
    version, tree, payload, names = struct.unpack(">IIII", data[4:20])
    size = 22 if version >= 2 else 14

    def walk(node: int, path: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * size
        flags = struct.unpack(">H", data[at + 4 : at + 6])[0]
        if flags & 2:
            count, first = struct.unpack(">II", data[at + 6 : at + 14])
            for child in range(first, first + count):
                start = names + struct.unpack(">I", data[tree + child * size : tree + child * size + 4])[0]
                letters = struct.unpack(">H", data[start : start + 2])[0]
                yield from walk(child, f"{path}/{data[start + 6 : start + 6 + 2 * letters].decode('utf-16-be')}")
            return
        start = payload + struct.unpack(">I", data[at + 10 : at + 14])[0]
        raw = data[start + 4 : start + 4 + struct.unpack(">I", data[start : start + 4])[0]]
        yield path, zlib.decompress(raw[4:]) if flags & 1 else raw

    yield from walk(0, "")


@cache
def photographs() -> dict[str, bytes]:
    """Return 109 photographs by name, as they are stored (WebP)."""
    found = {}
    for of in _SETS:
        for path, data in resources(of):
            if path.endswith(".webp") and (of != "categorization" or "/monuments/" in path):
                found[f"{of}/{path.rpartition('/')[2]}"] = data
    return dict(sorted(found.items()))


@cache
def others() -> dict[str, bytes]:
    """Return the other pictures that the program sorts into categories. No threshold was chosen with them."""
    found = {
        path.rpartition("/")[2]: data
        for path, data in resources("categorization")
        if path.endswith(".webp") and "/images/" in path and "/monuments/" not in path
    }
    return dict(sorted(found.items()))


def decoded(longest: int) -> dict[str, Image.Image]:
    """Return the photographs in RGB, no side longer than this."""
    return shown(photographs(), longest)


def shown(stored: Mapping[str, bytes], longest: int) -> dict[str, Image.Image]:
    """Decode pictures to RGB, on white where they are transparent, no side longer than this."""
    images = {name: flat(Image.open(io.BytesIO(data))) for name, data in stored.items()}
    for image in images.values():
        image.thumbnail((longest, longest))
    return images


def flat(image: Image.Image) -> Image.Image:
    """Return a picture in RGB, on white where it is transparent."""
    if image.mode in ("RGBA", "LA", "P"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def texts() -> dict[str, str]:
    """Return the text beside a photograph, by its name, for those that have one."""
    found = {}
    for of in _SETS[:4]:
        for path, data in resources(of):
            if re.search(r"/board\d*\.qml$", path):
                for entry in data.decode().split("{"):
                    image, text = _ENTRY.search(entry), _TEXT.search(entry)
                    if image and text and f"{of}/{image[1]}" in photographs():
                        found[f"{of}/{image[1]}"] = text[1]
    return dict(sorted(found.items()))


@cache
def licences() -> dict[str, tuple[str, str, str]]:
    """Return author, licence and source of each photograph by its name, as the program's README files give them."""
    found = {}
    for of in _SETS:
        for path, data in resources(of):
            if path.endswith("/README"):
                for block in re.split(r"\n(?=Copyright:)", data.decode()):
                    known = dict(re.findall(r"^(Copyright|License|Source): *(.*)$", block, re.M))
                    for file in block.partition("Files:")[2].split():
                        said = known.get("Copyright", ""), known.get("License", ""), known.get("Source", "")
                        found[f"{of}/{file.rpartition('/')[2]}"] = said
    return {name: found[name] for name in photographs() if name in found}
