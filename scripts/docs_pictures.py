"""Pictures of docs/experts.md, made when the site is built: what experts find in photographs, and copies of one.

The photographs come with Debian's package gcompris-qt-data; those in the public domain or under CC0 are shown. Where
the package or the experts are not installed, a picture says so.
"""

import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kale_tasks.errors import BadConfig
from tests.experts.edits import HELD_OUT, KNOWN
from tests.experts.photographs import decoded, licences

_FREE = ("public domain", "cc0-1.0")
_CELL = 240


def pictures() -> dict[str, bytes]:
    """The pictures by name, as JPEG."""
    return {f"{name}.jpg": _jpeg(_made(make)) for name, make in _MAKERS.items()}


def _made(make: Callable[[], Image.Image]) -> Image.Image:
    try:
        if not os.environ.get("DOCS_PICTURES"):  # they take half a minute
            raise BadConfig("`make docs` makes it.")
        return make()
    except (FileNotFoundError, BadConfig, ImportError) as error:
        image = Image.new("RGB", (3 * _CELL, _CELL // 2), "#ddd")
        text = "\n".join(textwrap.wrap(f"This picture was not made. {error}", 80))
        ImageDraw.Draw(image).text((12, 12), text, "black", ImageFont.load_default(14))
        return image


def free(longest: int) -> dict[str, Image.Image]:
    """The photographs that anyone may show."""
    known = licences()
    return {
        name: image for name, image in decoded(longest).items() if name in known and known[name][1].lower() in _FREE
    }


def _boxed(name: str, expert: str, longest: int) -> Image.Image:
    import json

    from kale_tasks.experts.base import ExpertRow, open_expert, values_of

    image, opened = free(longest)[name], open_expert(expert, {})
    opened.start()
    found = values_of(opened, [ExpertRow(name, "", image)]).to_pylist()
    shown = image.copy()
    draw = ImageDraw.Draw(shown)
    for value in found:
        edges = [edge * side for edge, side in zip(json.loads(value["data"])["box"], shown.size * 2, strict=True)]
        draw.rectangle(edges, outline="#00c000", width=3)
        place, text, font = (edges[0], max(edges[1] - 20, 0)), f"{value['score']:.2f}", ImageFont.load_default(14)
        draw.rectangle(draw.textbbox(place, text, font), "white", "white", 2)
        draw.text(place, text, "#006000", font)
    return shown


def _copies() -> Image.Image:
    from kale_tasks.experts.tags import EfficientNet
    from kale_tasks.images.decode import perceptual_hash

    image = free(512)["explore_monuments/petra.webp"]
    edits = {"the photograph": lambda one: one, **KNOWN, **HELD_OUT}
    made = {name: edit(image) for name, edit in edits.items()}
    vectors = EfficientNet().see(list(made.values())).vectors
    bits = [(perceptual_hash(one) ^ perceptual_hash(image)) % 2**64 for one in made.values()]
    labels = [
        f"{name}\ncosine {vector @ vectors[0]:.2f}, bits that differ: {differ.bit_count()}"
        for name, vector, differ in zip(made, vectors, bits, strict=True)
    ]
    return _sheet(list(made.values()), labels, 4)


def _clusters() -> Image.Image:
    from kale_tasks.experts.tags import EfficientNet
    from kale_tasks.selection.clusters import centres, nearest
    from kale_tasks.selection.vectors import STEPS

    images = list(free(256).values())
    rows = np.round(EfficientNet().see(images).vectors * STEPS)
    cluster, closeness = nearest(rows, centres(rows, 6))
    shown: list[Image.Image] = []
    for number in range(6):
        members = np.flatnonzero(cluster == number)
        best = members[np.argsort(-closeness[members])][:4]
        shown += [images[at] for at in best] + [Image.new("RGB", (8, 8), "white")] * (4 - len(best))
    return _sheet(shown, [""] * len(shown), 4)


def _sheet(images: Sequence[Image.Image], labels: Sequence[str], across: int) -> Image.Image:
    """Pictures in rows, each as high as its highest picture."""
    small = [image.copy() for image in images]
    for image in small:
        image.thumbnail((_CELL, _CELL))
    rows = [small[at : at + across] for at in range(0, len(small), across)]
    below = 48 if any(labels) else 8
    tops = [0, *accumulate(max(image.height for image in row) + below for row in rows)]
    sheet = Image.new("RGB", (across * (_CELL + 8), tops[-1]), "white")
    for at, (image, label) in enumerate(zip(small, labels, strict=True)):
        left, top = at % across * (_CELL + 8), tops[at // across]
        sheet.paste(image, (left, top))
        ImageDraw.Draw(sheet).text((left, top + image.height + 2), label, "black", ImageFont.load_default(14))
    return sheet


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


_MAKERS: Mapping[str, Callable[[], Image.Image]] = {
    "faces": lambda: _boxed("explore_world_music/mexico.webp", "faces", 900),
    "text": lambda: _boxed("explore_world_music/japan.webp", "rapidocr", 768),
    "copies": _copies,
    "clusters": _clusters,
}
