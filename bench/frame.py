"""The frame of the measurements in bench/: contenders in turns, medians with their spread, a watch on the machine.

A script measures `Sample`s, gathers them by `in_turns` into `Series`, and writes tables and named ratios to a `Page`,
which becomes `bench/<script>.md`. `bench/floors.yaml` promises the named ratios; `make floors` compares.
"""

import datetime
import os
import statistics
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
MAX_LOAD = 1.5  # load average of a machine that is busy before anything starts
_SETTLE_SECONDS = 240  # for the load average to forget the measurement before
MAX_OTHERS = 0.3  # cores that other processes may use during a sample
_POLL_SECONDS = 0.2
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


def process(command: Sequence[object], timeout: float = 3600, **options: Any) -> tuple[Sample, str]:
    """Run a command to its end and return what it took and what it printed; SystemExit if it fails."""
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    ) as child:
        watch = _Family(psutil.Process(child.pid))
        wall, machine, deadline = time.perf_counter(), _machine_cpu(), time.monotonic() + timeout
        printed = ""
        while child.returncode is None:
            watch.look()
            with suppress(subprocess.TimeoutExpired):
                printed = child.communicate(timeout=_POLL_SECONDS)[0]
            if time.monotonic() > deadline:
                watch.kill()
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {child.returncode}: {printed[-2000:]}")
    took = time.perf_counter() - wall
    others = max(0.0, _machine_cpu() - machine - watch.cpu) / took
    return Sample(took, watch.cpu, watch.peak_mb, others > MAX_OTHERS), printed


class _Family:
    """CPU time and memory of a process and all below it, those included that nobody waits for, such as a JVM."""

    def __init__(self, root: psutil.Process) -> None:
        self._root, self._cpu, self.peak_mb = root, dict[int, float](), 0.0
        self._reaped = _cpu_of(psutil.Process(), reaped_only=True)

    @property
    def cpu(self) -> float:
        """CPU seconds so far: as seen while they ran, or as the kernel adds up those that were waited for."""
        return max(sum(self._cpu.values()), _cpu_of(psutil.Process(), reaped_only=True) - self._reaped)

    def look(self) -> None:
        """Note what they have used."""
        held = 0.0
        with suppress(psutil.NoSuchProcess):
            for one in (self._root, *self._root.children(recursive=True)):
                with suppress(psutil.Error, OSError):
                    times = one.cpu_times()
                    self._cpu[one.pid] = times.user + times.system
                    held += one.memory_full_info().pss / 1e6
        self.peak_mb = max(self.peak_mb, held)

    def kill(self) -> None:
        """End them all."""
        with suppress(psutil.NoSuchProcess):
            for one in (*self._root.children(recursive=True), self._root):
                with suppress(psutil.NoSuchProcess):
                    one.kill()


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    spent: dict[str, float] = {}
    wall, own, machine = time.perf_counter(), _own_cpu(), _machine_cpu()
    yield spent
    spent["wall"], spent["cpu"] = time.perf_counter() - wall, _own_cpu() - own
    spent["others"] = max(0.0, _machine_cpu() - machine - spent["cpu"]) / max(spent["wall"], 1e-9)


def _own_cpu() -> float:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(_cpu_of(one) for one in family)


def _cpu_of(one: psutil.Process, reaped_only: bool = False) -> float:
    times = one.cpu_times()
    reaped = times.children_user + times.children_system
    return float(reaped if reaped_only else times.user + times.system + reaped)


def _machine_cpu() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


class Page:
    """One page of tables and ratios, `bench/<name>.md`. Set BENCH_REFUSE_BUSY=1 to stop on a busy machine."""

    def __init__(self, name: str, title: str, about: str, packages: Sequence[str] = ()) -> None:
        self.path, self._ratios = ROOT / "bench" / f"{name}.md", list[str]()
        load = _settled_load()
        self.busy = load > MAX_LOAD
        if self.busy and os.environ.get("BENCH_REFUSE_BUSY"):
            raise SystemExit(f"The load average is {load:.1f}: measure when it is below {MAX_LOAD}.")
        self._lines = [f"# {title}", "", about.strip(), "", _machine(load, packages), ""]

    def text(self, text: str) -> None:
        """Add a heading or a paragraph."""
        self._lines += [text.strip(), ""]

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; numbers are right-aligned."""
        cells = [[str(cell) for cell in row] for row in rows]
        rule = ["---:" if any(row[i][:1].isdigit() for row in cells) else "---" for i in range(len(header))]
        self._lines += [_row(header), _row(rule), *map(_row, cells), ""]

    def ratio(self, name: str, found: Ratio) -> None:
        """Add a ratio that bench/floors.yaml may promise."""
        machine = "busy" if found.busy or self.busy else "idle"
        cells = [f"`{name}`", *(f"{value:.3f}" for value in (found.median, min(found.rounds), max(found.rounds)))]
        self._ratios.append(_row([*cells, machine]))

    def write(self) -> None:
        """Write the page and print it."""
        self.path.write_text(self._rendered(), encoding="utf-8")
        self.show()

    def show(self) -> None:
        """Print the page."""
        print(self._rendered())

    def _rendered(self) -> str:
        lines = list(self._lines)
        if self._ratios:
            lines += ["## Ratios", "", _row(RATIO_HEADER), "|---|---:|---:|---:|---|", *self._ratios, ""]
        return "\n".join(lines)


RATIO_HEADER = ("ratio", "median", "lowest", "highest", "machine")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _settled_load() -> float:
    """Return the load average, once it has fallen to `MAX_LOAD` or does not fall any further."""
    end, load = time.monotonic() + _SETTLE_SECONDS, os.getloadavg()[0]
    while load > MAX_LOAD and time.monotonic() < end and _cores_used() < MAX_OTHERS:
        load = os.getloadavg()[0]
    return load


def _cores_used() -> float:
    return psutil.cpu_percent(5) / 100 * (os.cpu_count() or 1)


def _machine(load: float, packages: Sequence[str]) -> str:
    models = [line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    parts = [
        f"{os.cpu_count()} cores ({' '.join(models[0].split()) if models else 'unknown model'})",
        f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        f"load {load:.1f} at the start",
        f"commit {commit or 'unknown'}",
        str(datetime.date.today()),
        *(f"{name} {version(name)}" for name in packages),
    ]
    text = f"Machine: {', '.join(parts)}. Medians ± half the range; *busy* marks rows during which others used it."
    return textwrap.fill(text, 120)
