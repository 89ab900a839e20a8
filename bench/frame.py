"""The frame of the measurements in bench/: pages of tables and ratios, and commands that are measured.

A script measures `Sample`s, gathers them by `in_turns` into `Series` (both in `kale_tasks.bench.measure`), and writes
tables and named ratios to a `Page`, which becomes `bench/<script>.md`. `bench/floors.yaml` promises the named ratios;
`make floors` compares.
"""

import datetime
import os
import subprocess
import textwrap
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from kale_tasks.bench.measure import MAX_OTHERS, Ratio, Sample, cpu_of, machine_cpu, markdown, markdown_row

ROOT = Path(__file__).parents[1]
MAX_LOAD = 1.5  # load average of a machine that is busy before anything starts
_SETTLE_SECONDS = 240  # for the load average to forget the measurement before
_POLL_SECONDS = 0.2


def process(command: Sequence[object], timeout: float = 3600, **options: Any) -> tuple[Sample, str]:
    """Run a command to its end and return what it took and what it printed; SystemExit if it fails."""
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    ) as child:
        watch = _Family(psutil.Process(child.pid))
        wall, machine, deadline = time.perf_counter(), machine_cpu(), time.monotonic() + timeout
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
    others = max(0.0, machine_cpu() - machine - watch.cpu) / took
    return Sample(took, watch.cpu, watch.peak_mb, others > MAX_OTHERS), printed


class _Family:
    """CPU time and memory of a process and all below it, those included that nobody waits for, such as a JVM."""

    def __init__(self, root: psutil.Process) -> None:
        self._root, self._cpu, self.peak_mb = root, dict[int, float](), 0.0
        self._reaped = cpu_of(psutil.Process(), reaped_only=True)

    @property
    def cpu(self) -> float:
        """CPU seconds so far: as seen while they ran, or as the kernel adds up those that were waited for."""
        return max(sum(self._cpu.values()), cpu_of(psutil.Process(), reaped_only=True) - self._reaped)

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
        self._lines += [*markdown(header, rows), ""]

    def ratio(self, name: str, found: Ratio) -> None:
        """Add a ratio that bench/floors.yaml may promise."""
        machine = "busy" if found.busy or self.busy else "idle"
        cells = [f"`{name}`", *(f"{value:.3f}" for value in (found.median, min(found.rounds), max(found.rounds)))]
        self._ratios.append(markdown_row([*cells, machine]))

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
            lines += ["## Ratios", "", markdown_row(RATIO_HEADER), "|---|---:|---:|---:|---|", *self._ratios, ""]
        return "\n".join(lines)


RATIO_HEADER = ("ratio", "median", "lowest", "highest", "machine")


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
