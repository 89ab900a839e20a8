"""Draws charts as SVG. They have plain colours, which the CSS of a page overrides; `picture` makes a file of them."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

_WIDTH, _BASE, _EDGE = 640, 134, 8
_LOSS_HEIGHT, _LOSS_LEFT, _LOSS_BASE = 320, 56, 284
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1")


def bars(values: Mapping[str, float], label: str = "bars") -> Markup:
    """Draw one horizontal bar per name; the largest value has the full width."""
    largest = max(values.values(), default=0) or 1
    rows = []
    for i, (name, value) in enumerate(values.items()):
        y, length = i * 26, max(1.0, 240 * value / largest)
        rows.append(
            _text(160, y + 16, name[:24], "name", "end")
            + f'<rect class="bar" fill="{_COLOURS[0]}" x="170" y="{y + 4}" width="{length:.1f}" height="16" rx="3">'
            + f"<title>{escape(name)}: {value:,.0f}</title></rect>"
            + _text(176 + length, y + 16, f"{value:,.0f}")
        )
    return _svg("".join(rows), 480, 26 * len(values), label)


def histogram(series: Mapping[str, Sequence[int]], bin_width: int, unit: str) -> Markup:
    """Draw several distributions over the same bins, each as shares of its own total."""
    shares = {name: [n / (sum(counts) or 1) for n in counts] for name, counts in series.items()}
    bins = max((i for counts in shares.values() for i, share in enumerate(counts) if share > 0), default=0) + 1
    largest = max((share for counts in shares.values() for share in counts), default=0) or 1
    step, parts = (_WIDTH - 20) / bins, []
    for number, counts in enumerate(shares.values(), 1):
        points = [(10.0, float(_BASE))]
        for i, share in enumerate(counts[:bins]):
            y = _BASE - 120 * share / largest
            points += [(10 + i * step, y), (10 + (i + 1) * step, y)]
        parts.append(_line([*points, (_WIDTH - 10.0, float(_BASE))], f"shape s{number}", number))
    ticks = {round(bins * part) for part in (0, 0.25, 0.5, 0.75, 1)}
    parts += [_text(10 + tick * step, _BASE + 18, str(tick * bin_width), anchor="middle") for tick in sorted(ticks)]
    parts.append(f'<line class="axis" stroke="#ddd" x1="10" x2="{_WIDTH - 10}" y1="{_BASE}" y2="{_BASE}"/>')
    return _svg("".join(parts), _WIDTH, _BASE + 24, f"{', '.join(series)} by {unit}")


def legend(names: Sequence[str]) -> Markup:
    """Draw the legend of a histogram, for pictures without a page around them."""
    keys = [
        _line([(10 + 150 * i, 8), (26 + 150 * i, 8)], f"shape s{i + 1}", i + 1) + _text(32 + 150 * i, 12, name)
        for i, name in enumerate(names)
    ]
    return _svg("".join(keys), _WIDTH, 18, "legend")


def sparkline(values: Sequence[float], label: str, low: float | None = None, high: float | None = None) -> Markup:
    """Draw a figure over the latest keys as a small line; a dot marks the last value, a band its bounds."""
    shown = [*values, *(bound for bound in (low, high) if bound is not None)]
    bottom, span = min(shown), (max(shown) - min(shown)) or 1

    def y(value: float) -> float:
        return 26 - 20 * (value - bottom) / span

    step = 108 / max(len(values) - 1, 1)
    points = [(6 + i * step, y(value)) for i, value in enumerate(values)]
    top, base = (4 if high is None else y(high)), (28 if low is None else y(low))
    bounded = low is not None or high is not None
    band = f'<rect class="band" x="2" y="{top:.1f}" width="116" height="{base - top:.1f}"/>' if bounded else ""
    dot = f'<circle class="now" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3"/>'
    return _svg(band + _line(points, "course") + dot, 120, 32, label, "spark")


def course(values: Mapping[str, float | None], label: str, unit: str = "") -> Markup:
    """Draw a figure over keys, in their order, with axes. Keys without the figure are left out."""
    known = {key: value for key, value in values.items() if value is not None}
    top = max(known.values(), default=0) or 1
    step = (_WIDTH - 2 * _EDGE) / max(len(known) - 1, 1)
    points = [(_EDGE + i * step, _BASE - 112 * value / top) for i, value in enumerate(known.values())]
    parts = []
    for part in (0, 0.5, 1):
        y = _BASE - 112 * part
        parts.append(f'<path stroke="#ddd" class="axis" d="M{_EDGE} {y:.1f}H{_WIDTH - _EDGE}"/>')
        parts.append(_text(_EDGE + 8, y - 6, f"{_number(part * top, 3)}{unit}"))  # inside: however long it is
    for (x, y), (key, value) in zip(points, known.items(), strict=True):
        said = f"<title>{escape(key)}: {_number(value, 4)}{unit}</title>"
        parts.append(f'<circle class="now" cx="{x:.1f}" cy="{y:.1f}" r="3">{said}</circle>')
    ends = list(known)
    parts += [_text(_EDGE, _BASE + 22, ends[0])] if ends else []
    parts += [_text(_WIDTH - _EDGE, _BASE + 22, ends[-1], anchor="end")] if len(ends) > 1 else []
    return _svg("".join([_line(points, "course"), *parts]), _WIDTH, _BASE + 28, label, "chart wide")


def _number(value: float, digits: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:.{digits}g}"


def loss_curve(points: Sequence[tuple[int, float]]) -> Markup:
    """Draw the training loss by step; the loss has a logarithmic scale."""
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    bottom, top = math.log10(low) - 0.05, math.log10(high) + 0.05
    last = max(step for step, _ in points)

    def x(step: float) -> float:
        return _LOSS_LEFT + step / last * (_WIDTH - _LOSS_LEFT - 12)

    def y(loss: float) -> float:
        return 12 + (top - math.log10(loss)) / (top - bottom) * (_LOSS_BASE - 12)

    round_losses = [base * 10.0**power for power in range(-6, 4) for base in (1, 2, 5)]
    marked = [loss for loss in round_losses if low <= loss <= high]
    parts = [f'<path stroke="#ddd" d="M{_LOSS_LEFT} {y(loss):.1f}H{_WIDTH - 12}"/>' for loss in marked]
    parts += [_text(_LOSS_LEFT - 6, y(loss) + 4, f"{loss:.3g}", anchor="end") for loss in marked]
    parts += [_text(x(last * i / 4), _LOSS_HEIGHT - 14, f"{last * i // 4}", anchor="middle") for i in range(5)]
    line = _line([(x(step), y(loss)) for step, loss in points], "course")
    return _svg("".join([*parts, line]), _WIDTH, _LOSS_HEIGHT, "Loss by step")


def learning_curve(
    points: Sequence[tuple[float, float]], line: Sequence[tuple[float, float]],
    predicted: tuple[float, float, float, float],
) -> Markup:  # fmt: skip
    """Draw losses by number of captions, a fitted line, and what it predicts (number, loss, low, high)."""
    number, loss, low, high = predicted
    losses = [loss, *(one for _, one in (*points, *line))]
    span = max(losses) - min(losses)
    low, high = max(low, min(losses) - span), min(high, max(losses) + span)  # a wide interval leaves the picture
    bottom, span = min(low, *losses), (max(high, *losses) - min(low, *losses)) or 1
    first, last = math.log(min(size for size, _ in points)), math.log(number)

    def x(size: float) -> float:
        return _LOSS_LEFT + (math.log(size) - first) / (last - first) * (_WIDTH - _LOSS_LEFT - 32)

    def y(value: float) -> float:
        return 12 + (bottom + span - value) / span * (_LOSS_BASE - 24)

    parts = [_line([(x(size), y(one)) for size, one in line], "course")]
    parts += [f'<path stroke="#ddd" class="axis" d="M{x(number):.1f} {y(low):.1f}V{y(high):.1f}"/>']
    parts += [
        f'<circle class="now" cx="{x(size):.1f}" cy="{y(one):.1f}" r="4"><title>{size:,.0f}: {one:.4f}</title></circle>'
        for size, one in (*points, (number, loss))
    ]
    parts += [_text(x(size), _LOSS_HEIGHT - 14, f"{size:,.0f}", anchor="middle") for size, _ in points]
    parts += [_text(x(number), _LOSS_HEIGHT - 14, f"{number:,.0f}", anchor="middle")]
    parts += [_text(_LOSS_LEFT - 6, y(one) + 4, f"{one:.3g}", anchor="end") for one in (bottom, bottom + span)]
    return _svg("".join(parts), _WIDTH, _LOSS_HEIGHT, "Loss by number of captions")


def intervals(values: Mapping[str, tuple[float, float, float]], label: str, unit: str = "") -> Markup:
    """Draw a value with its interval (value, low, high) for each name, on one scale that has zero."""
    ends = [end for value in values.values() for end in value if math.isfinite(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale = 380 / ((high - low) or 1)

    def x(value: float) -> float:
        return 180 + scale * (min(max(value, low), high) - low) if math.isfinite(value) else 180 + scale * (high - low)

    height = 26 * len(values)
    parts = [f'<path class="axis" stroke="#ddd" d="M{x(0):.1f} 0V{height}"/>']
    for i, (name, (value, least, most)) in enumerate(values.items()):
        y = 26 * i + 13
        parts.append(
            _text(170, y + 4, name[:28], "name", "end")
            + _line([(x(least), y), (x(most), y)], "shape s1")
            + f'<circle class="now" fill="{_COLOURS[0]}" cx="{x(value):.1f}" cy="{y}" r="4">'
            + f"<title>{escape(name)}: {value:.1f} ({least:.1f} to {most:.1f}) {escape(unit)}</title></circle>"
            + _text(570, y + 4, f"{value:+.1f}")
        )
    return _svg("".join(parts), _WIDTH, height, label)


def picture(*charts: Markup, title: str = "") -> bytes:
    """Make an SVG file of charts below each other, on white, with an optional title."""
    y, parts = 8.0, []
    if title:
        y, parts = 34.0, [_text(10, 22, title)]
    for chart in charts:
        width, height = str(chart).partition('viewBox="0 0 ')[2].partition('"')[0].split()
        parts.append(str(chart).replace("<svg ", f'<svg x="0" y="{y:g}" width="{width}" height="{height}" ', 1))
        y += float(height)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 8:g}">'
    drawn = f'<rect width="100%" height="100%" fill="#fff"/><g {_FONT} font-size="14">{parts[0] if title else ""}</g>'
    return f"{head}{drawn}{''.join(parts[bool(title) :])}</svg>\n".encode()


_FONT = 'font-family="sans-serif" fill="#444"'


def _text(x: float, y: float, text: str, css: str = "value", anchor: str = "start") -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(points: Sequence[tuple[float, float]], css: str, series: int = 1) -> str:
    place, colour = " ".join(f"{x:.1f},{y:.1f}" for x, y in points), _COLOURS[(series - 1) % len(_COLOURS)]
    return f'<polyline class="{css}" fill="none" stroke="{colour}" stroke-width="1.5" points="{place}"/>'


def _svg(drawn: str, width: int, height: float, label: str, css: str = "chart") -> Markup:
    return Markup(
        f'<svg class="{css}" viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(label)}">'
        f'<g {_FONT} font-size="11">{drawn}</g></svg>'
    )
