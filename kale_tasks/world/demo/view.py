"""How far the chain is: a live table on a terminal, a line for every change elsewhere."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.world.demo.chain import DAGS, Cell

_MARKS = {"success": "[green]done[/]", "failed": "[red]failed[/]", "queued": "[dim]queued[/]"}


class View:
    """Shows what it is given."""

    def __init__(self, console: Console, keys: Sequence[str], url: str) -> None:
        self._console, self._keys, self._url = console, [*keys, ALL_KEYS], url
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._said: set[Cell] = set()

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
        """The state of all runs at this moment."""
        if self._live:
            self._live.update(self._table(cells))
            return
        for cell in cells:
            if cell not in self._said:
                self._console.print(f"{cell.key} {cell.dag} {cell.state} {cell.task}".rstrip(), highlight=False)
        self._said = set(cells)

    def _table(self, cells: Sequence[Cell]) -> Table:
        found = {(cell.key, cell.dag): cell for cell in cells}
        table = Table("key", *(dag.removeprefix("kale_") for dag in DAGS), caption=self._url)
        for key in self._keys:
            table.add_row(key, *(_words(found.get((key, dag))) for dag in DAGS))
        return table


def _words(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return _MARKS.get(cell.state, f"[yellow]{cell.task or cell.state}[/]")
