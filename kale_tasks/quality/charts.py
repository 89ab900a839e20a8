"""Small drawings as SVG text: bars, histograms, lines; coloured by the page's own style."""

from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

_WIDTH, _NARROW = 640, 480


def bars(values: Mapping[str, float], note: str = "") -> Markup:
    """Named horizontal bars, the longest filling the width."""
    most = max(values.values(), default=0) or 1
    rows = []
    for i, (name, value) in enumerate(values.items()):
        y, length, said = i * 26, max(1.0, 240 * value / most), escape(name)
        rows.append(
            f'<text class="name" x="160" y="{y + 16}" text-anchor="end">{escape(name[:24])}</text>'
            f'<rect class="bar" x="170" y="{y + 4}" width="{length:.1f}" height="16" rx="3">'
            f"<title>{said}: {value:,.0f}</title></rect>"
            f'<text class="value" x="{176 + length:.1f}" y="{y + 16}">{value:,.0f}</text>'
        )
    return _svg("".join(rows), 26 * len(values), note or "bars", _NARROW)


def histogram(series: Mapping[str, Sequence[int]], width: int, unit: str) -> Markup:
    """Shapes of several distributions over the same bins, each as a share of its own total."""
    shares = {name: [n / (sum(counts) or 1) for n in counts] for name, counts in series.items()}
    last = max((i for counts in shares.values() for i, share in enumerate(counts) if share > 0), default=0) + 1
    most = max((share for counts in shares.values() for share in counts), default=0) or 1
    step, parts = (_WIDTH - 20) / last, []
    for number, counts in enumerate(shares.values(), 1):
        points = [f"10,{_BASE}"]
        for i, share in enumerate(counts[:last]):
            y = _BASE - 120 * share / most
            points += [f"{10 + i * step:.1f},{y:.1f}", f"{10 + (i + 1) * step:.1f},{y:.1f}"]
        points.append(f"{_WIDTH - 10},{_BASE}")
        parts.append(f'<polyline class="shape s{number}" points="{" ".join(points)}"/>')
    ticks = {round(last * part) for part in (0, 0.25, 0.5, 0.75, 1)}
    parts += [
        f'<text class="value" text-anchor="middle" x="{10 + t * step:.1f}" y="{_BASE + 18}">{t * width}</text>'
        for t in sorted(ticks)
    ]
    parts.append(f'<line class="axis" x1="10" x2="{_WIDTH - 10}" y1="{_BASE}" y2="{_BASE}"/>')
    return _svg("".join(parts), _BASE + 24, f"{', '.join(series)} by {unit}")


def line(values: Sequence[float], label: str) -> Markup:
    """A course over earlier keys, the last point marked."""
    low, high = min(values), max(values)
    span = (high - low) or 1
    step = 108 / max(len(values) - 1, 1)
    points = [(6 + i * step, 26 - 20 * (value - low) / span) for i, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    drawn = f'<polyline class="course" points="{path}"/><circle class="now" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    return Markup(f'<svg class="spark" viewBox="0 0 120 32" role="img" aria-label="{escape(label)}">{drawn}</svg>')


_BASE = 134


def _svg(drawn: str, height: float, label: str, width: int = _WIDTH) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(label)}">{drawn}</svg>'
    )
