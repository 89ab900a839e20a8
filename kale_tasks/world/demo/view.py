"""Shows the progress of the chain: as a live table on a terminal, elsewhere as one line for every change."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kale_tasks.captions.steps import find_spec
from kale_tasks.explore.look import look
from kale_tasks.explore.terminal import print_seen
from kale_tasks.explore.watch import Running, running
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.words import duration
from kale_tasks.settings import Settings
from kale_tasks.world.demo.chain import STEP_OF, Cell

# What each Dag takes of a demonstration on two cores; only their relation counts.
_WEIGHTS = {
    "kale_ingest": 8, "kale_images": 10, "kale_stage1": 30, "kale_distill": 80, "kale_stage2": 20, "kale_release": 15,
}  # fmt: skip
_TITLES = {"kale_stage1": "captions, stage 1", "kale_distill": "student", "kale_stage2": "captions, stage 2"}
_KNOWN_SHARE = 0.05  # of the work, from which on the time left is worth saying
_WIDTH = 100  # at least, so that columns do not jump
_FOR_ALL = ("kale_distill", "kale_release")
_NOT_YET = "waits for more keys"  # its run has ended with nothing to do


class View:
    """A context manager that shows the chain as it runs: rows, rates, and the first captions once there are any."""

    def __init__(self, console: Console, lake: Lake, settings: Settings, keys: Sequence[str], url: str) -> None:
        self._console, self._lake, self._settings, self._keys, self._url = console, lake, settings, keys, url
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._shown: set[tuple[str, str, str]] = set()
        self._began, self._captioned = time.monotonic(), False

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, cells: Sequence[Cell]) -> None:
        """Show the current cells."""
        self._show_first_captions(cells)
        known = {(cell.key, cell.dag): cell for cell in cells if cell.dag in _WEIGHTS}
        if self._live:
            self._live.update(self._drawn(known, running(self._lake)))
            return
        for cell in known.values():
            if (change := (cell.key, cell.dag, cell.state)) not in self._shown:
                key = "all keys" if cell.key == ALL_KEYS else cell.key
                line = f"{self._clock()} {key} {_title(cell.dag)}: {self._outcome(cell)}"
                self._console.print(line, highlight=False)
                self._shown.add(change)

    def _drawn(self, cells: Mapping[tuple[str, str], Cell], live: Sequence[Running]) -> RenderableType:
        table = Table("key", *map(_title, _WEIGHTS), title="Rows", title_justify="left", min_width=_WIDTH)
        for key in (*self._keys, ALL_KEYS):
            name = "all keys" if key == ALL_KEYS else key
            table.add_row(name, *(self._cell(cells, live, key, dag) for dag in _WEIGHTS))
        return Group(table, Text(self._footer(cells)), Text(f"Watch it in Airflow: {self._url}", "dim"))

    def _cell(self, cells: Mapping[tuple[str, str], Cell], live: Sequence[Running], key: str, dag: str) -> str:
        cell = cells.get((key, dag))
        if cell is None:
            return "" if (key == ALL_KEYS) == (dag in _FOR_ALL) else "[dim]-[/]"
        if cell.state == "success":
            rows = self._rows(cell)
            return f"[green]{rows:,}[/]" if rows or dag not in _FOR_ALL else f"[dim]{_NOT_YET}[/]"
        if cell.state in ("failed", "queued"):
            return f"[{'red' if cell.state == 'failed' else 'dim'}]{cell.state}[/]"
        task = cell.task.partition(".")[0]
        if one := next((run for run in live if run.key == key and task in (run.step, STEP_OF[dag])), None):
            rate = f", {one.rate:.0f}/s" if one.rate >= 1 else ""
            return f"[yellow]{one.step} {one.rows:,}/{one.total:,}{rate}[/]"
        return f"[yellow]{task or cell.state}[/]"

    def _footer(self, cells: Mapping[tuple[str, str], Cell]) -> str:
        share = self._share_done(cells)
        elapsed = time.monotonic() - self._began
        left = f", about {duration(elapsed * (1 - share) / share)} left" if share > _KNOWN_SHARE else ""
        return f"{self._clock()} since the start, {share:.0%} of the work is done{left}."

    def _share_done(self, cells: Mapping[tuple[str, str], Cell]) -> float:
        wanted = [(key, dag) for dag in _WEIGHTS for key in ([ALL_KEYS] if dag in _FOR_ALL else self._keys)]
        total = sum(_WEIGHTS[dag] for _, dag in wanted)
        done = sum(_WEIGHTS[dag] for key, dag in wanted if (key, dag) in cells and cells[key, dag].state == "success")
        return done / total

    def _show_first_captions(self, cells: Sequence[Cell]) -> None:
        first = next((cell for cell in cells if cell.dag == "kale_stage1" and cell.state == "success"), None)
        if first and not self._captioned:
            self._captioned = True
            self._console.print(f"{self._clock()} The first captions, of {first.key}; the rest goes on.", style="bold")
            print_seen(self._console, look(self._lake, self._settings, first.key, 1))

    def _outcome(self, cell: Cell) -> str:
        if cell.state != "success":
            return cell.state
        rows = self._rows(cell)
        return f"success, {rows:,} rows" if rows or cell.dag not in _FOR_ALL else _NOT_YET

    def _rows(self, cell: Cell) -> int:
        spec = find_spec(STEP_OF[cell.dag], self._settings)
        committed = self._lake.committed(spec.table, ALL_KEYS if cell.dag in _FOR_ALL else cell.key, spec.slice)
        return committed.rows if committed else 0

    def _clock(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02d}"


def _title(dag: str) -> str:
    return _TITLES.get(dag, dag.removeprefix("kale_"))
