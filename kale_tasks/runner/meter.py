"""Measures what a process spends on a run, for the ledger."""

import resource
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any


class Meter:
    """What a process spends from the moment it is made."""

    def __init__(self) -> None:
        self.figures: defaultdict[str, float] = defaultdict(float)
        self.started_at = datetime.now(UTC)
        self._started, self._cpu = time.monotonic(), _cpu_seconds()

    def add(self, name: str, value: float) -> None:
        """Add to a figure."""
        self.figures[name] += value

    def spent(self) -> dict[str, Any]:
        """Seconds, CPU seconds and peak memory up to now."""
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return {
            "seconds": time.monotonic() - self._started,
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "peak_mb": peak / 1024,
            "started_at": self.started_at,
        }


def _cpu_seconds() -> float:
    return sum(
        (usage := resource.getrusage(who)).ru_utime + usage.ru_stime
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
