"""Charts as SVG text."""

import math
from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 320, 56, 12, 12, 36


def log_line_chart(points: Sequence[tuple[int, float]], title: str) -> str:
    """Return a standalone SVG line chart of positive values by step, the values on a logarithmic scale."""
    low, high = min(value for _, value in points), max(value for _, value in points)
    bottom, top = math.log10(low) - 0.05, math.log10(high) + 0.05
    last = max(step for step, _ in points)

    def x(step: float) -> float:
        return _LEFT + step / last * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (top - math.log10(value)) / (top - bottom) * (_HEIGHT - _BOTTOM - _TOP)

    line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
    ticks = _log_ticks(low, high)
    grid = "".join(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>' for tick in ticks)
    labels = [_label(_LEFT - 6, y(tick) + 4, "end", f"{tick:.3g}") for tick in ticks]
    labels += [_label(x(last * i / 4), _HEIGHT - 14, "middle", f"{last * i // 4}") for i in range(5)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"<title>{title}</title>"
        f'<rect width="100%" height="100%" fill="#fff"/>{grid}'
        f'<polyline points="{line}" fill="none" stroke="#2a6fbb" stroke-width="1.5"/>'
        f'<g font-family="sans-serif" font-size="11" fill="#444">{"".join(labels)}</g></svg>\n'
    )


def _log_ticks(low: float, high: float) -> list[float]:
    ticks = [base * 10.0**power for power in range(-6, 4) for base in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
