"""Says what checks found in words, and formats figures for people."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from kale_tasks.quality.outcome import Outcome

_NONE = "\N{EN DASH}"
_ORDER = ("passed", "failed", "broken", "skipped")
Part = Literal["seen", "low", "high"]


def number(value: float | None) -> str:
    """Format a number: 1234567 as 1,234,567, 0.12345 as 0.123."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """Format a share: 0.1234 as 12.3 %."""
    return _NONE if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Format seconds: 7.2 s, 12 min or 2.5 h."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def moment(at: str) -> str:
    """Format a time: 2026-11-01T08:15:00+00:00 as 2026-11-01 08:15."""
    return at[:16].replace("T", " ")


def spaced(name: str) -> str:
    """Format a name: words_mean as words mean."""
    return name.replace("_", " ")


def figure(name: str, value: float | None) -> str:
    """Format a figure by its name: shares in percent."""
    return share(value) if name.endswith(("_share", "_gap", "_shift")) else number(value)


def seen(check: Outcome, part: Part = "seen") -> str:
    """Format what a check found, or one of its bounds."""
    return figure(check.name, getattr(check, part))


def wanted(check: Outcome) -> str:
    """Say what a check allows: `at most 1.0 %`."""
    low, high = check.low, check.high
    if high == 0 and low in {None, 0}:
        return "0"
    if low is not None and high is not None:
        return seen(check, "low") if low == high else f"{seen(check, 'low')} to {seen(check, 'high')}"
    if low is not None:
        return f"at least {seen(check, 'low')}"
    return f"at most {seen(check, 'high')}" if high is not None else ""


def sentence(check: Outcome) -> str:
    """Say in a sentence what a check is about, what it found and what it allows."""
    facts = [f"saw {seen(check)}"] if check.seen is not None else []
    facts += [f"wanted {allowed}"] if facts and (allowed := wanted(check)) else []
    facts += [check.detail] if check.detail else []
    return f"{check.says}: {', '.join(facts) or check.status} ({check.name})"


def counted(checks: Sequence[Outcome]) -> str:
    """Count checks by status, and say why some were skipped: `31 passed, 8 skipped (no earlier keys)`."""
    counts = Counter(check.status for check in checks)
    reasons = dict.fromkeys(check.detail for check in checks if check.status == "skipped" and check.detail)
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return ", ".join(f"{counts[status]} {status}{why if status == 'skipped' else ''}" for status in _present(counts))


def _present(counts: Counter[str]) -> Iterable[str]:
    return (status for status in _ORDER if counts[status])
