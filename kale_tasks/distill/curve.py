"""The loss curve as a small SVG picture."""

import math
from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 320, 56, 36


def loss_curve(points: Sequence[tuple[int, float]]) -> str:
    """Loss by step, the loss on a logarithmic scale."""
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    bottom, top = math.log10(low) - 0.05, math.log10(high) + 0.05
    last = max(step for step, _ in points)

    def x(step: float) -> float:
        return _LEFT + step / last * (_WIDTH - _LEFT - 12)

    def y(loss: float) -> float:
        return 12 + (top - math.log10(loss)) / (top - bottom) * (_HEIGHT - _BOTTOM - 12)

    line = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in points)
    marks = [_text(_LEFT - 6, y(loss) + 4, "end", f"{loss:.3g}") for loss in _round_losses(low, high)]
    marks += [_text(x(last * i / 4), _HEIGHT - 14, "middle", f"{last * i // 4}") for i in range(5)]
    grid = "".join(
        f'<path d="M{_LEFT} {y(loss):.1f}H{_WIDTH - 12}" stroke="#ddd"/>' for loss in _round_losses(low, high)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"<title>Loss by step</title>"
        f'<rect width="100%" height="100%" fill="#fff"/>{grid}'
        f'<polyline points="{line}" fill="none" stroke="#2a6fbb" stroke-width="1.5"/>'
        f'<g font-family="sans-serif" font-size="11" fill="#444">{"".join(marks)}</g></svg>\n'
    )


def _round_losses(low: float, high: float) -> list[float]:
    steps = [base * 10.0**power for power in range(-6, 4) for base in (1, 2, 5)]
    return [loss for loss in steps if low <= loss <= high]


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
