"""Progress of long work: a bar on a terminal, plain lines in a log, JSON lines for machines."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

_INTERVAL_SECONDS = 5.0


class Progress(Protocol):
    """How a step reports its progress."""

    def begin(self, title: str, total: int, unit: str = "rows") -> None:
        """Start counting work of `total` units; 0 if the total is unknown."""

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        """Count `done` more units; `resumed` ones were done by an earlier attempt. Facts are summed and shown."""

    def gauge(self, **values: float) -> None:
        """Show current values, such as a rate; each replaces the one before."""

    def end(self) -> None:
        """Finish: show the final state."""


class Silent:
    """Discards progress."""

    def begin(self, title: str, total: int, unit: str = "rows") -> None: ...

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None: ...

    def gauge(self, **values: float) -> None: ...

    def end(self) -> None: ...


class Counting:
    """Sums units and facts, and derives the rate and the time left."""

    def __init__(self) -> None:
        self.begin("", 0)

    def begin(self, title: str, total: int, unit: str = "rows") -> None:
        self.title, self.total, self.unit, self.done, self.resumed = title, total, unit, 0, 0
        self.facts: dict[str, float] = {}
        self.started = time.monotonic()

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        self.done += done
        self.resumed += done if resumed else 0
        for name, value in facts.items():
            self.facts[name] = self.facts.get(name, 0) + value

    def gauge(self, **values: float) -> None:
        self.facts |= values

    def end(self) -> None: ...

    @property
    def rate(self) -> float:
        """Units a second, without those that an earlier attempt did."""
        return (self.done - self.resumed) / max(time.monotonic() - self.started, 1e-6)

    def state(self) -> dict[str, Any]:
        """Return everything as one record."""
        left = max(0, self.total - self.done) / self.rate if self.rate > 0 and self.total else None
        return {
            "title": self.title,
            self.unit: self.done,
            "total": self.total,
            "resumed": self.resumed,
            f"{self.unit}_per_second": round(self.rate, 1),
            "seconds_left": None if left is None else round(left),
            **{name: round(value, 1) for name, value in self.facts.items() if value},
        }


class Lines(Counting):
    """Writes a line every few seconds, as text or as JSON."""

    def __init__(self, out: TextIO | None = None, as_json: bool = False) -> None:
        super().__init__()
        self._out, self._json, self._written = out or sys.stderr, as_json, 0.0

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        super().advance(done, resumed, **facts)
        if time.monotonic() - self._written >= _INTERVAL_SECONDS:
            self._write()

    def end(self) -> None:
        if self.title:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        text = json.dumps(self.state()) if self._json else _sentence(self)
        print(text, file=self._out, flush=True)


class Bar(Counting):
    """Draws a live bar on a terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} {task.fields[unit]}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
        )

    def begin(self, title: str, total: int, unit: str = "rows") -> None:
        super().begin(title, total, unit)
        if hasattr(self, "_bar"):
            self._bar.start()
            self._task = self._bar.add_task(title, total=total or None, unit=unit, rate=0.0, facts="")

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        super().advance(done, resumed, **facts)
        shown = " ".join(f"{name} {value:.0f}" for name, value in self.facts.items() if value)
        self._bar.update(self._task, completed=self.done, rate=self.rate, facts=shown)

    def end(self) -> None:
        self._bar.stop()


def make(kind: str) -> Progress:
    """Create the progress for the setting `log`: auto, plain or json."""
    if kind == "json":
        return Lines(as_json=True)
    if kind == "auto" and sys.stderr.isatty():
        return Bar()
    return Lines()


@contextmanager
def progress_of(kind: str) -> Iterator[Progress]:
    """Context manager: the progress for the setting `log`, ended however the work ends."""
    progress = make(kind)
    try:
        yield progress
    finally:
        progress.end()


def _sentence(work: Counting) -> str:
    state, unit = work.state(), work.unit
    facts = ", ".join(f"{name} {round(value, 1):g}" for name, value in work.facts.items() if value)
    total = f" of {work.total}" if work.total else ""
    left = f", {state['seconds_left']} s left" if state["seconds_left"] else ""
    return f"{work.title}: {work.done}{total} {unit}, {work.rate:.1f} {unit}/s{left}" + (f" ({facts})" if facts else "")
