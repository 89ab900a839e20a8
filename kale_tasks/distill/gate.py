"""The promotion gate: whether a student may replace the one in use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kale_tasks.likeness.metrics import Quotient, interval
from kale_tasks.settings.distill import Gate

Measured = Mapping[str, Quotient]


@dataclass(frozen=True)
class PromotionVerdict:
    """The result of the promotion gate; `text` explains it with figures."""

    accepted: bool
    text: str


class _Check(NamedTuple):
    passed: bool
    text: str


def promotion_verdict(student: Measured, teacher: Measured, in_use: Measured | None, gate: Gate) -> PromotionVerdict:
    """Accept a student that is shown to be close enough to its teacher, and better than the one in use if there is one.

    The worse bound of an interval decides: few captions show little, and do not let a student pass by chance.
    """
    checks = [
        _least("facts carried", student["facts_carried"], gate.facts_carried, "of its teacher's"),
        *_most(student, teacher, gate),
        _least("description", student["description"], gate.description, "of its teacher's at another seed"),
    ]
    if in_use is not None:
        new, old = promotion_score(student), promotion_score(in_use)
        checks.append(_Check(new > old, f"score: {new:.3f} (more than {old:.3f}, that of the student in use)"))
    failed = [check.text for check in checks if not check.passed]
    if failed:
        return PromotionVerdict(False, f"Refused. {'; '.join(failed)}.")
    return PromotionVerdict(True, f"Accepted. {'; '.join(check.text for check in checks)}.")


def promotion_score(measured: Measured) -> float:
    """Return one figure to compare two students by: the mean of facts carried and description, less facts invented."""
    carried, description, invented = (
        measured[name].value for name in ("facts_carried", "description", "facts_invented")
    )
    return round((carried + description) / 2 - invented, 4)


def _least(name: str, figure: Quotient, limit: float, of: str) -> _Check:
    low, high = interval(figure)
    text = f"{name}: {figure.value:.3f} {of}, {low:.3f} to {high:.3f} (at least {limit:g})"
    return _Check(low >= limit, text)


def _most(student: Measured, teacher: Measured, gate: Gate) -> Iterator[_Check]:
    for name in ("attributes_wrong", "facts_invented", "repetition", "cut_off"):
        limit = getattr(gate, name)
        gap = student[name].value - teacher[name].value
        low, high = interval(student[name], teacher[name])
        yield _Check(
            high <= limit,
            f"{name.replace('_', ' ')}: {100 * gap:+.1f} points against its teacher, {100 * low:+.1f} to "
            f"{100 * high:+.1f} (at most {100 * limit:+.1f})",
        )
