"""What the commands share: options, the opened lake, and output as tables or JSON."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from kale_tasks.contract.registry import STEPS
from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import check_key
from kale_tasks.settings import Settings, load

if TYPE_CHECKING:
    from rich.table import Table

    from kale_tasks.lake.tables import Lake
    from kale_tasks.progress import Progress

StepName = Annotated[
    str,
    typer.Argument(
        help=f"{', '.join(STEPS)}; or a pass of the recipe.", metavar="STEP", autocompletion=lambda: list(STEPS)
    ),
]
Recipe = Annotated[
    str, typer.Option("--recipe", help="Name of a recipe, or the path of a file; empty: the configured one.")
]
Key = Annotated[str, typer.Option("--key", callback=check_key, help="The key, such as 2026-11-01.")]
Preview = Annotated[
    str | None, typer.Option("--preview", metavar="NAME", help="Work in this preview instead of the real lake.")
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override a setting, as name=value. May be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
_NO_EDGE = 100_000  # width of a file or a pipe


class Opened(NamedTuple):
    """A lake, the settings it was opened with, and the progress to report to."""

    lake: "Lake"
    settings: Settings
    progress: "Progress"


def settings(sets: Sequence[str] | None) -> Settings:
    """Return the effective settings."""
    return load(sets or ()).settings


def with_recipe(sets: Sequence[str] | None, recipe: str) -> list[str]:
    """Return the overrides with that of `--recipe`."""
    return [*(sets or ()), *([f"caption.recipe={recipe}"] if recipe else [])]


def with_preview(sets: Sequence[str] | None, preview: str | None, limit: int | None = None) -> list[str]:
    """Return the overrides with those of `--preview` and `--limit`."""
    given = {"preview": preview, "limit": limit}
    return [*(sets or ()), *(f"{name}={value}" for name, value in given.items() if value is not None)]


def open_lake(of: Settings) -> "Lake":
    """Open the lake or preview of these settings to read it; BadConfig if there is none, or if it was copied."""
    from kale_tasks.lake import preview

    lake = preview.open_lake(of)
    if isinstance(lake, preview.PreviewLake):
        lake.require()
    return lake


def real_lake(of: Settings, action: str) -> "Lake":
    """Open the lake of these settings for an action that no preview allows; BadConfig if they name one."""
    from kale_tasks.lake.preview import real_lake as open_real

    return open_real(of, action)


def writable_lake(of: Settings, real: str = "") -> "Lake":
    """Open the lake of these settings to write to it, or begin the preview that they name.

    `real` names the action if it works on the real lake only; BadConfig if the settings name a preview then.
    """
    from kale_tasks.lake.preview import open_lake as open_any

    lake = real_lake(of, real) if real else open_any(of)
    lake.identify()
    return lake


@contextmanager
def opened(sets: Sequence[str] | None, real: str = "") -> Iterator[Opened]:
    """Context manager for commands that write: the lake, as `writable_lake` opens it, and progress on stderr."""
    from kale_tasks.progress import progress_of

    of = settings(sets)
    with progress_of(of.log) as progress:
        yield Opened(writable_lake(of, real), of, progress)


def open_page(place: str) -> None:
    """Open a page in the browser; BadConfig if this machine has none."""
    import webbrowser

    try:
        webbrowser.get().open(place if "://" in place else f"file://{place}")
    except webbrowser.Error as error:
        raise BadConfig(f"There is no browser on this machine. Open {place} on another one.") from error


def say(answer: Any, as_json: bool, text: str = "") -> None:
    """Print a result: as JSON for machines, as text for people."""
    if as_json:
        json.dump(answer, sys.stdout, default=str)
        print()
    else:
        print(text)


def say_table(rows: Sequence[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Print records: as JSON, as a table, or as one block each if the terminal is too narrow for the table."""
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
    return "\n".join(f"{name}: {printable(value)}" for name, value in row.items())


def printable(value: Any) -> str:
    """Escape what a value from the web has of control characters, which must not reach the terminal."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table_of(rows: Sequence[dict[str, Any]], title: str = "") -> "Table":
    """Return records as a table with a column for each name, numbers aligned right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    names = list(rows[0]) if rows else ["nothing yet"]
    for name in names:
        number = rows and all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(row[name])) for name in names))
    return table
