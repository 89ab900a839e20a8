"""Draws pictures and captions in a terminal: half blocks in colour, facts by their origin."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kale_tasks.explore.look import Seen
from kale_tasks.text.origins import ALT, DENSE, INVENTED, Piece

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURS = {ALT: "bold green", DENSE: "bold blue", INVENTED: "bold red"}
_WIDTH = 32  # columns of a picture
_HALF = "\N{UPPER HALF BLOCK}"  # two pixels in one cell: its colour above, its background below


def print_seen(console: Console, seen: Sequence[Seen]) -> None:
    """Print pictures with their texts, and what the colours mean."""
    for one in seen:
        console.print(_row(console, one))
        console.print()
    if any(one.caption for one in seen):
        console.print(legend())


def coloured(pieces: Iterable[Piece]) -> Text:
    """A caption whose facts have the colour of their origin."""
    text = Text()
    for piece in pieces:
        text.append("".join(c if c.isprintable() else " " for c in piece.text), _COLOURS.get(piece.origin))
    return text


def legend() -> Text:
    """What the colours mean."""
    parts = [
        ("Facts ", ""), ("from the alt-text", _COLOURS[ALT]), (", ", ""), ("from the dense caption", _COLOURS[DENSE]),
        (", ", ""), ("in neither", _COLOURS[INVENTED]), ("; the picture itself is not looked at for this.", ""),
    ]  # fmt: skip
    return Text.assemble(*parts)


def _row(console: Console, one: Seen) -> RenderableType:
    lines: list[RenderableType] = [labelled("alt-text", one.alt_text)]
    if one.dense and one.dense != one.caption:
        lines.append(labelled("dense", one.dense))
    if one.caption:
        lines.append(Text.assemble(("caption  ", "dim"), coloured(one.pieces)))
    lines += [labelled(name, " · ".join(values)) for name, values in one.found.items()]
    lines.append(Text(" ".join([one.uid, *one.flags]), "dim"))
    if one.image is None or not console.is_terminal or not console.color_system:
        return Group(*lines)
    grid = Table.grid(padding=(0, 2))
    grid.add_row(drawn(one.image), Group(*lines))
    return grid


def labelled(name: str, text: str) -> Text:
    """A line with its name before it; control characters of strangers do not reach the terminal."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return Text.assemble((f"{name:<8} ", "dim"), plain)


def drawn(image: "Image") -> Text:
    """A small version of a picture, two pixels in each cell."""
    height = max(2, round(_WIDTH * image.height / image.width / 2) * 2)
    small = image.convert("RGB").resize((_WIDTH, min(height, 2 * _WIDTH)))
    pixels = small.load()
    assert pixels
    text = Text()
    for y in range(0, small.height, 2):
        for x in range(_WIDTH):
            above, below = pixels[x, y], pixels[x, y + 1]
            text.append(_HALF, f"rgb({_rgb(above)}) on rgb({_rgb(below)})")
        text.append("\n")
    return text


def _rgb(pixel: object) -> str:
    assert isinstance(pixel, tuple)
    return ",".join(map(str, pixel))
