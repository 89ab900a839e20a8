"""The same bytes are stored for the same picture, whatever the versions of the decoders: what is stored is frozen.

If a new Pillow fails here, rows of `images` would change unseen. Raise `Images.version`, so that they become stale, say
so in CHANGELOG.md, and freeze the hashes again with `python -m tests.images.test_frozen`.
"""

import hashlib
import platform
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from kale_tasks.images import decode
from kale_tasks.imaging import fit
from kale_tasks.settings import load

FROZEN = Path(__file__).with_name("frozen.yaml")
PICTURES: dict[str, dict[str, str]] = yaml.safe_load(FROZEN.read_text())
SIDE = 20  # to which pictures are scaled down
Scale = Callable[[Image.Image, tuple[int, int]], Image.Image] | None
FAST: Scale = decode._FAST_SCALE

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="colours may be rounded differently elsewhere")


def stored(received: bytes, side: int = 1024, scale: Scale = None) -> str:
    """Describe what is stored of a picture, scaled by Pillow or by the package that is faster."""
    settings = load(["images.decode.min_side=1", f"images.decode.max_side={side}"], environ={}).settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_FAST_SCALE", scale)
        info, data = decode.convert(received, (), settings.images.decode)
    return f"{_hash(data)} {info.width}x{info.height} {info.phash}"


def hashes(name: str) -> dict[str, str]:
    """Hash what is made of a picture: what is stored, and what models are shown."""
    received = b64decode(PICTURES[name]["received"])
    found = {"stored": stored(received), "smaller": stored(received, SIDE), "shown": _hash(fit(received, SIDE))}
    return {**found, **({"smaller, fast": stored(received, SIDE, FAST)} if FAST else {})}


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_made_of_a_picture_is_frozen(name: str) -> None:
    found = hashes(name)
    assert found == {hashed: PICTURES[name][hashed] for hashed in found}


if __name__ == "__main__":
    frozen = {name: {"received": known["received"], **hashes(name)} for name, known in PICTURES.items()}
    FROZEN.write_text(yaml.safe_dump(frozen, sort_keys=False))
