"""Progress of long work: a bar on a terminal, plain lines in a log, JSON lines for machines."""

import json
import sys
import time
from typing import Any, Protocol, TextIO

_EVERY_SECONDS = 5.0


class Progress(Protocol):
    """What a step may say of how far it is."""

    def begin(self, title: str, total: int, unit: str = "rows") -> None:
        """Work of so many rows or other units begins (0: unknown)."""

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        """So many more are done; facts are counts to be summed and shown."""

    def end(self) -> None:
        """All of it is done."""


class Silent:
    """Says nothing."""

    def begin(self, title: str, total: int, unit: str = "rows") -> None:
        """Nothing."""

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Counting:
    """Sums rows and facts, and knows the rate and the time left."""

    def __init__(self) -> None:
        self.begin("", 0)

    def begin(self, title: str, total: int, unit: str = "rows") -> None:
        """Start counting anew."""
        self.title, self.total, self.unit, self.done, self.resumed = title, total, unit, 0, 0
        self.facts: dict[str, float] = {}
        self.started = time.monotonic()

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        """Count."""
        self.done += done
        self.resumed += done if resumed else 0
        for name, value in facts.items():
            self.facts[name] = self.facts.get(name, 0) + value

    def end(self) -> None:
        """Nothing more comes."""

    @property
    def rate(self) -> float:
        """Units a second, not counting what stood before."""
        return (self.done - self.resumed) / max(time.monotonic() - self.started, 1e-6)

    def state(self) -> dict[str, Any]:
        """All of it as one record."""
        left = (self.total - self.done) / self.rate if self.rate > 0 and self.total else None
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
    """A line every few seconds, as text or JSON."""

    def __init__(self, out: TextIO = sys.stderr, as_json: bool = False) -> None:
        super().__init__()
        self._out, self._json, self._last = out, as_json, 0.0

    def advance(self, done: int, resumed: bool = False, **facts: float) -> None:
        super().advance(done, resumed, **facts)
        if time.monotonic() - self._last >= _EVERY_SECONDS:
            self._say()

    def end(self) -> None:
        if self.title:
            self._say()

    def _say(self) -> None:
        self._last = time.monotonic()
        text = json.dumps(self.state()) if self._json else _sentence(self)
        print(text, file=self._out, flush=True)


class Bar(Counting):
    """A live bar on a terminal."""

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
        said = " ".join(f"{name} {value:.0f}" for name, value in self.facts.items() if value)
        self._bar.update(self._task, completed=self.done, rate=self.rate, facts=said)

    def end(self) -> None:
        self._bar.stop()


def make(kind: str) -> Progress:
    """The progress for a `log` setting: auto, plain or json."""
    if kind == "json":
        return Lines(as_json=True)
    if kind == "auto" and sys.stderr.isatty():
        return Bar()
    return Lines()


def _sentence(work: Counting) -> str:
    state, unit = work.state(), work.unit
    told = ", ".join(f"{name} {round(value, 1):g}" for name, value in work.facts.items() if value)
    total = f" of {work.total}" if work.total else ""
    left = f", {state['seconds_left']} s left" if state["seconds_left"] else ""
    return f"{work.title}: {work.done}{total} {unit}, {work.rate:.1f} {unit}/s{left}" + (f" ({told})" if told else "")
