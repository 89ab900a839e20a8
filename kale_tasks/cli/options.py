"""What the commands share: options, the opened lake, answers as tables or JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kale_tasks.lake.keys import check_key
from kale_tasks.settings import Settings, load

if TYPE_CHECKING:
    from rich.table import Table

    from kale_tasks.lake.tables import Lake

Key = Annotated[str, typer.Option("--key", callback=check_key, help="The partition, such as 2026-11-01.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: name=value. May be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON on stdout.")]
_NO_EDGE = 100_000  # how wide a file or a pipe is


def settings(sets: Sequence[str] | None) -> Settings:
    """The effective settings."""
    return load(sets or ()).settings


def open_lake(of: Settings) -> "Lake":
    """The lake of these settings."""
    from kale_tasks.lake.tables import Lake

    return Lake(of)


def say(answer: Any, as_json: bool, text: str = "") -> None:
    """Print an answer: as JSON for machines, as text for people."""
    if as_json:
        json.dump(answer, sys.stdout, default=str)
        print()
    else:
        print(text)


def say_table(rows: Sequence[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Print records: as JSON, as a table, or one below the other where the terminal is too narrow for that."""
    if as_json:
        say(list(rows), as_json)
        return
    from rich.console import Console
    from rich.measure import Measurement

    table = table_of(rows, title)
    wide = Console(width=_NO_EDGE)
    console = Console() if sys.stdout.isatty() else wide
    if Measurement.get(wide, wide.options, table).maximum <= console.width:
        console.print(table)
    else:
        print(*(_record(row) for row in rows), sep="\n\n")


def _record(row: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {_shown(value)}" for name, value in row.items())


def _shown(value: Any) -> str:
    # Texts of strangers reach a terminal here: it is to show their control characters, not to obey them.
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table_of(rows: Sequence[dict[str, Any]], title: str = "") -> "Table":
    """Records as a table with a column for each name, numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    names = list(rows[0]) if rows else ["nothing yet"]
    for name in names:
        number = rows and all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(row[name])) for name in names))
    return table
