"""Compares a key with earlier keys, and a student with its teacher: lengths of texts, and shares."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from kale_tasks.quality.suite import Figures, Limit, Subject

_BINS = 10
_SURE = 4.0  # standard errors within which a difference counts as chance


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Population stability index of two histograms over the same bins, less its expected value by chance."""
    bins = _merged(expected)
    n, m = sum(actual) or 1, sum(expected) or 1
    total = 0.0
    for low, high in bins:
        a = (sum(actual[low:high]) + 0.5) / (n + 0.5 * len(bins))
        e = (sum(expected[low:high]) + 0.5) / (m + 0.5 * len(bins))
        total += (a - e) * math.log(a / e)
    return max(0.0, total - 2 * (len(bins) - 1) * (1 / n + 1 / m))


def drift(subject: Subject, figures: Figures, lengths: Sequence[int]) -> tuple[dict[str, float | None], list[Limit]]:
    """Compute figures that compare a key with earlier ones, and their limits.

    The figures are None, so that their checks are skipped, if too few earlier keys or rows exist.
    """
    of = subject.settings.quality.drift
    earlier = list(subject.earlier())
    enough = len(earlier) >= of.least_keys and subject.committed.rows >= of.least_rows
    found: dict[str, float | None] = {}
    limits = []
    if lengths:
        found["length_psi"] = psi(_median_shape([e["lengths"] for e in earlier]), lengths) if enough else None
        limits = [
            Limit("length_psi", "critical", "Texts are as long as those of earlier keys", high=of.psi_critical),
            Limit("length_psi", "warning", "Texts are as long as those of earlier keys", high=of.psi_warning),
        ]
    for name in sorted(name for name in figures if name.endswith("_share")):
        shift = f"{name}_shift"
        found[shift] = _shift(figures[name], [e["figures"].get(name) for e in earlier], subject) if enough else None
        limits.append(Limit(shift, "warning", f"{name} is close to that of earlier keys", high=of.share_gap))
    return found, limits


def beside_teacher(subject: Subject, figures: Figures, lengths: Sequence[int]) -> dict[str, float | None]:
    """Compare stage 2 with stage 1 of this key, or of the latest earlier key that has captions of stage 1."""
    teacher = next(subject.earlier({"recipe": subject.spec.recipe, "stage": 1}), None)
    if teacher is None:
        return dict.fromkeys(("student_alt_gap", "student_invented_gap", "student_length_psi"))
    theirs, n = teacher["figures"], subject.committed.rows
    return {
        "student_alt_gap": _lack(theirs["alt_used_share"], figures["alt_used_share"], n),
        "student_invented_gap": _lack(figures["invented_share"], theirs["invented_share"], n),
        "student_length_psi": psi(teacher["lengths"], lengths),
    }


def _merged(expected: Sequence[float]) -> list[tuple[int, int]]:
    # Bins of about equal weight: an almost empty bin would dominate the sum.
    total, bins, start, weight = sum(expected) or 1, [], 0, 0.0
    for i, value in enumerate(expected):
        weight += value
        if weight >= total / _BINS:
            bins.append((start, i + 1))
            start, weight = i + 1, 0.0
    if not bins:
        return [(0, len(expected))]
    return (
        [*bins[:-1], (bins[-1][0], len(expected))]
        if start < len(expected) and weight == 0
        else [*bins, (start, len(expected))]
    )


def _median_shape(histograms: Sequence[Sequence[int]]) -> list[float]:
    size = int(median([sum(h) for h in histograms]))
    shares = [median([h[i] / (sum(h) or 1) for h in histograms]) for i in range(len(histograms[0]))]
    return [share * size / (sum(shares) or 1) for share in shares]


def _shift(share: float | None, earlier: Sequence[Any], subject: Subject) -> float | None:
    known = [one for one in earlier if one is not None]
    if share is None or not known:
        return None
    usual = float(median(known))
    return max(0.0, abs(share - usual) - chance(usual, subject.committed.rows))


def _lack(more: float | None, less: float | None, rows: int) -> float | None:
    if more is None or less is None:
        return None
    return max(0.0, more - less - chance(less, rows))


def chance(share: float, rows: int) -> float:
    """Return how far the share in a sample may differ from the true share by chance (four standard errors)."""
    return float(_SURE) * math.sqrt(max(share * (1 - share), 0.25 / max(rows, 1)) / max(rows, 1))
