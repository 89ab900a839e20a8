"""Compares a key with earlier keys, and a student with its teacher: lengths of texts, and shares."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from kale_tasks.quality.suite import Figures, Limit, Subject
from kale_tasks.quality.words import number, spaced
from kale_tasks.settings.quality import Drift

_BINS = 10
_SURE = 4.0  # standard errors within which a difference counts as chance
_PRIOR_KEYS = 5  # keys after which the spread of earlier keys weighs as much as the configured one


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Population stability index of two histograms over the same bins, less what chance alone may well make of it.

    By chance it is distributed like chi squared with a degree of freedom less than bins, times (1 / n + 1 / m).
    """
    bins = _merged(expected)
    n, m = sum(actual) or 1, sum(expected) or 1
    total = 0.0
    for low, high in bins:
        a = (sum(actual[low:high]) + 0.5) / (n + 0.5 * len(bins))
        e = (sum(expected[low:high]) + 0.5) / (m + 0.5 * len(bins))
        total += (a - e) * math.log(a / e)
    degrees = len(bins) - 1
    return max(0.0, total - (degrees + _SURE * math.sqrt(2 * degrees)) * (1 / n + 1 / m))


def drift(subject: Subject, figures: Figures, lengths: Sequence[int]) -> tuple[dict[str, float | None], list[Limit]]:
    """Compute the figures that compare a key with earlier ones, and the bounds that those earlier keys give.

    Without enough earlier keys or rows there are no bounds, so that the checks are skipped; each says why.
    """
    of, rows = subject.settings.quality.drift, subject.committed.rows
    earlier = list(reversed(list(subject.earlier())))
    lack = ""
    if rows < of.least_rows:
        lack = f"a key of {rows:,} rows is not compared, {of.least_rows:,} are needed"
    elif len(earlier) < of.least_keys:
        lack = f"{len(earlier)} of {of.least_keys} earlier keys with this recipe and these settings"
    found: dict[str, float | None] = {}
    limits = []
    if lengths:
        found["length_psi"] = None if lack else psi(_median_shape([e["lengths"] for e in earlier]), lengths)
        limits += _length_limits(of, figures, earlier, lack)
    for name in sorted(name for name in figures if name.endswith("_share")):
        history = _history(earlier, name)
        low, high = (None, None) if lack or not history else learned(list(history.values()), rows, of.share_gap)
        says = f"The {spaced(name)} is close to that of earlier keys"
        limits.append(Limit(f"{name}_shift", "warning", says, low, high, name, lack, history))
    return found, limits


def learned(earlier: Sequence[float], rows: int, gap: float) -> tuple[float, float]:
    """Return the bounds of a share that earlier keys give: their median, more or less chance and their own spread.

    While few keys are known, `gap` is the spread that is allowed.
    """
    usual, known = float(median(earlier)), len(earlier)
    prior, spread = (gap / _SURE) ** 2, _spread(earlier, usual) ** 2
    width = chance(usual, rows) + _SURE * math.sqrt((_PRIOR_KEYS * prior + known * spread) / (_PRIOR_KEYS + known))
    return max(0.0, usual - width), min(1.0, usual + width)


def _length_limits(of: Drift, figures: Figures, earlier: Sequence[Mapping[str, Any]], lack: str) -> list[Limit]:
    history, words = _history(earlier, "length_psi"), _history(earlier, "words_mean")
    values = list(history.values())
    more = median(values) + _SURE * _spread(values, median(values)) if values else 0.0
    usual = number(median(words.values())) if words else "none"
    note = lack or f"{number(figures.get('words_mean'))} words a text, {usual} in earlier keys"
    says = "Texts are as long as those of earlier keys"
    return [
        Limit("length_psi", severity, says, high=max(bound, more), note=note, history=history)
        for severity, bound in (("critical", of.psi_critical), ("warning", of.psi_warning))
    ]


def _history(earlier: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Return a figure by earlier key, the latest last."""
    return {e["key"]: round(v, 6) for e in earlier if (v := e["figures"].get(name)) is not None}


def _spread(values: Sequence[float], usual: float) -> float:
    """Return the median distance from the usual value, scaled to the standard deviation of a normal distribution."""
    return 1.4826 * float(median(abs(value - usual) for value in values))


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


def _lack(more: float | None, less: float | None, rows: int) -> float | None:
    if more is None or less is None:
        return None
    return max(0.0, more - less - chance(less, rows))


def chance(share: float, rows: int) -> float:
    """Return how far the share in a sample may differ from the true share by chance (four standard errors)."""
    return float(_SURE) * math.sqrt(max(share * (1 - share), 0.25 / max(rows, 1)) / max(rows, 1))
