"""The outcome of one check: names and figures, never text of a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """Result of one check."""

    name: str
    severity: str  # critical, warning or info
    status: str  # passed, failed, broken, or skipped when there is nothing to compare with
    says: str
    seen: float | None = None
    low: float | None = None
    high: float | None = None
    suite: str = ""  # of Great Expectations that it is in; empty for a bound on a figure, which is plain code
    detail: str = ""  # what the figure means, why the check was skipped, or which error it raised
    history: Mapping[str, float] = field(default_factory=dict)  # the figure by earlier key: the bounds come from it
