"""Measuring contenders in turns: medians with their spread, and a watch on who else uses the machine."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

MAX_OTHERS = 0.3  # cores that other processes may use during a sample
_TICKS = 0.02 * (os.cpu_count() or 1)  # seconds by which the counters of the machine may be off: two ticks of each
Act = Callable[[], Any]


@dataclass(frozen=True)
class Sample:
    """What one run of a contender took."""

    wall: float  # seconds
    cpu: float  # seconds of all its processes
    peak_mb: float = 0.0  # of all its processes, shared pages counted once; 0 if it was not watched
    busy: bool = False  # whether others used the machine meanwhile
    figures: Mapping[str, float] = field(default_factory=dict)  # what else it counted: tokens, images, rows kept


@dataclass(frozen=True)
class Series:
    """The samples of one contender, one a round."""

    samples: Sequence[Sample]

    @property
    def wall(self) -> float:
        """Median wall seconds."""
        return self.median(lambda sample: sample.wall)

    @property
    def cpu(self) -> float:
        """Median CPU seconds."""
        return self.median(lambda sample: sample.cpu)

    @property
    def peak_mb(self) -> float:
        """Median of the peak memory."""
        return self.median(lambda sample: sample.peak_mb)

    @property
    def busy(self) -> bool:
        """Whether the machine was busy during any sample."""
        return any(sample.busy for sample in self.samples)

    def median(self, of: Callable[[Sample], float]) -> float:
        """The median of a figure of the samples."""
        return statistics.median(map(of, self.samples))

    def figure(self, name: str) -> float:
        """The median of a figure that the contender counted itself."""
        return self.median(lambda sample: sample.figures[name])

    def seconds(self, of: Callable[[Sample], float]) -> str:
        """A cell of a table: the median, and half the range beside it."""
        values = list(map(of, self.samples))
        return f"{statistics.median(values):.2f} ± {(max(values) - min(values)) / 2:.2f}"

    @property
    def cells(self) -> tuple[str, str, str]:
        """Wall seconds, CPU seconds, and whether the machine was busy."""
        return self.seconds(lambda s: s.wall), self.seconds(lambda s: s.cpu), "busy" if self.busy else "idle"


@dataclass(frozen=True)
class Ratio:
    """How one contender compares with another: each round gives a ratio, the median counts."""

    rounds: Sequence[float]
    busy: bool

    @property
    def median(self) -> float:
        """The figure that a floor promises."""
        return statistics.median(self.rounds)


def ratio(ours: Series, base: Series, of: Callable[[Sample], float]) -> Ratio:
    """The ratio of a figure of ours to the same figure of the base, round by round."""
    pairs = zip(ours.samples, base.samples, strict=True)
    return Ratio([of(one) / of(other) for one, other in pairs], ours.busy or base.busy)


def in_turns(contenders: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, Series]:
    """Run every contender once a round, every other round in reverse order."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            samples[name].append(contenders[name]())
    return {name: Series(each) for name, each in samples.items()}


def timed(act: Act) -> Sample:
    """Call something in this process; its figures are those that it returns, if it returns a mapping."""
    with _watched() as spent:
        returned = act()
    figures = returned if isinstance(returned, Mapping) else {}
    return Sample(spent["wall"], spent["cpu"], busy=spent["others"] > MAX_OTHERS, figures=figures)


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    spent: dict[str, float] = {}
    wall, own, machine = time.perf_counter(), _own_cpu(), machine_cpu()
    yield spent
    spent["wall"], spent["cpu"] = time.perf_counter() - wall, _own_cpu() - own
    others = machine_cpu() - machine - spent["cpu"] - _TICKS
    spent["others"] = max(0.0, others) / max(spent["wall"], 1e-9)


def _own_cpu() -> float:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(cpu_of(one) for one in family)


def cpu_of(one: psutil.Process, reaped_only: bool = False) -> float:
    """CPU seconds of a process and of the children that it has waited for."""
    times = one.cpu_times()
    reaped = times.children_user + times.children_system
    return float(reaped if reaped_only else times.user + times.system + reaped)


def machine_cpu() -> float:
    """CPU seconds that all processes of this machine have used."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table; numbers are right-aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    rule = ["---:" if any(row[i][:1].isdigit() for row in cells) else "---" for i in range(len(header))]
    return [markdown_row(header), markdown_row(rule), *map(markdown_row, cells)]


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"
