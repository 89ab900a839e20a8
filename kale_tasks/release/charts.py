"""Charts for the card: plain SVG, drawn from counts."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 300, 50, 40, 40


def histogram(title: str, series: Mapping[str, Mapping[str, int]], unit: str) -> bytes:
    """Draw grouped bars: for each series the share of rows in each bin, by its lower edge."""
    bins = sorted({edge for values in series.values() for edge in values})
    shares = {
        n: {edge: values.get(edge, 0) / max(1, sum(values.values())) for edge in bins} for n, values in series.items()
    }
    top = max((share for values in shares.values() for share in values.values()), default=1.0) or 1.0
    slot = (_WIDTH - _LEFT) / max(1, len(bins))
    bar = slot * 0.8 / max(1, len(series))
    parts = [_text(_LEFT, 18, title, 15)]
    for i, (name, values) in enumerate(shares.items()):
        parts.append(_rect(_LEFT + i * 170, 25, 10, 10, _COLOURS[i]) + _text(_LEFT + i * 170 + 14, 34, name))
        for j, edge in enumerate(bins):
            height = (_HEIGHT - _TOP - _BOTTOM) * values[edge] / top
            parts.append(_rect(_LEFT + j * slot + i * bar, _HEIGHT - _BOTTOM - height, bar, height, _COLOURS[i]))
    parts += [_text(_LEFT + j * slot, _HEIGHT - _BOTTOM + 14, str(int(edge))) for j, edge in enumerate(bins)]
    parts.append(_text(_LEFT, _HEIGHT - 8, unit) + _text(4, _TOP + 10, f"{top:.0%}"))
    return _svg(parts)


def bars(title: str, values: Mapping[str, int]) -> bytes:
    """Draw a horizontal bar for each value."""
    top, parts = max(values.values(), default=1), [_text(_LEFT, 18, title, 15)]
    for i, (name, value) in enumerate(values.items()):
        y = _TOP + 24 * i
        parts.append(_rect(_LEFT + 150, y, (_WIDTH - _LEFT - 260) * value / max(1, top), 16, _COLOURS[0]))
        parts.append(_text(_LEFT, y + 12, name[:24]) + _text(_WIDTH - 100, y + 12, f"{value:,}"))
    return _svg(parts, _TOP + 24 * len(values) + 10)


def _svg(parts: list[str], height: int = _HEIGHT) -> bytes:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
    )
    return "\n".join([head, _rect(0, 0, _WIDTH, height, "#ffffff"), *parts, "</svg>\n"]).encode()


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="{size}" fill="#333">{escape(text)}</text>'
    )
