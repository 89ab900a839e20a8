"""Shows the progress of the chain: as a live table on a terminal, elsewhere as one line for every change."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.world.demo.chain import DAGS, Cell

_STATES = {"success": "[green]done[/]", "failed": "[red]failed[/]", "queued": "[dim]queued[/]"}


class View:
    """A context manager that shows cells of the chain as they change."""

    def __init__(self, console: Console, keys: Sequence[str], url: str) -> None:
        self._console, self._keys, self._url = console, [*keys, ALL_KEYS], url
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._shown: set[Cell] = set()

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
        if self._live:
            self._live.update(self._table(cells))
            return
        for cell in cells:
            if cell not in self._shown:
                self._console.print(f"{cell.key} {cell.dag} {cell.state} {cell.task}".rstrip(), highlight=False)
        self._shown = set(cells)

    def _table(self, cells: Sequence[Cell]) -> Table:
        by_place = {(cell.key, cell.dag): cell for cell in cells}
        table = Table("key", *(dag.removeprefix("kale_") for dag in DAGS), caption=self._url)
        for key in self._keys:
            table.add_row(key, *(_state(by_place.get((key, dag))) for dag in DAGS))
        return table


def _state(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return _STATES.get(cell.state, f"[yellow]{cell.task or cell.state}[/]")
