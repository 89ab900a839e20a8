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
        of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return {
            "seconds": time.monotonic() - self._started,
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "peak_mb": max(peak_mb(), of_children),
            "started_at": self.started_at,
        }


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
