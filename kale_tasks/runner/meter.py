"""Measures what a process spends on a run, for the ledger."""

import re
import resource
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Meter:
    """What a process spends from the moment it is made, and from one line of the ledger to the next."""

    def __init__(self) -> None:
        self.figures: defaultdict[str, float] = defaultdict(float)
        self._started = self._lap = _Reading({})

    def add(self, name: str, value: float) -> None:
        """Add to a figure."""
        self.figures[name] += value

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started.at

    def lap(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Seconds, CPU seconds, peak memory and figures since the lap before."""
        before, now = self._lap, _Reading(dict(self.figures))
        self._lap = now
        of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        spent = {
            "seconds": now.at - before.at,
            "cpu_seconds": now.cpu - before.cpu,
            "peak_mb": max(peak_mb(), of_children),
            "started_at": before.clock,
        }
        return spent, {name: value - before.figures.get(name, 0) for name, value in now.figures.items()}


class _Reading:
    def __init__(self, figures: dict[str, float]) -> None:
        self.clock, self.at, self.cpu, self.figures = datetime.now(UTC), time.monotonic(), _cpu_seconds(), figures


def peak_mb() -> float:
    """Peak memory of this process. `getrusage` also counts what the process held that started this one."""
    with suppress(FileNotFoundError):  # not Linux
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M):
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_seconds() -> float:
    return sum(
        (usage := resource.getrusage(who)).ru_utime + usage.ru_stime
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
