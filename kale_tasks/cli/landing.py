"""`kale landing check` looks at landing files before they are ingested; `kale adopt` links a folder as a key's."""

from pathlib import Path
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Key, Sets, printable, say, say_table, settings

app = typer.Typer(no_args_is_help=True, help="Look at landing files.")
Rows = Annotated[int, typer.Option("--rows", min=1, help="Rows that are read of each file.")]
Shown = Annotated[int, typer.Option("--show", min=0, help="First rows that are shown.")]
LandingKey = Annotated[str, typer.Argument(help="Key of the landing files, such as 2026-11-01.")]


@app.command()
def check(key: LandingKey, rows: Rows = 1000, show: Shown = 10, sets: Sets = None, json: AsJson = False) -> None:
    """Show the columns found in each landing file, the first rows, and what rules would drop. Nothing is written.

    Reads the first rows of at most 20 files. Duplicates and takedowns are not considered.
    """
    from kale_tasks.ingest.look import look_at

    found = look_at(settings(sets), key, rows, show)
    if json:
        say(vars(found), True)
        return
    say_table(found.files, False)
    if found.ignored:
        names = printable(", ".join(found.ignored[:20]))
        print(f"Not read, as their endings are of no format that is known: {names}")
    if found.first:
        say_table(found.first, False)
    dropped = [
        {"dropped by": rule, "rows": rows, "share": f"{rows / found.rows:.1%}", "such as": found.examples[rule][:200]}
        for rule, rows in found.dropped.most_common()
    ]
    print(f"Of {found.rows:,} rows that were read, {found.dropped.total():,} would be dropped.")
    if dropped:
        say_table(dropped, False)


Archive = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with tars, tables or pictures.")]


def adopt(source: Archive, key: Key, sets: Sets = None) -> None:
    """Take a folder of tars or pictures as the landing files of a key, and show what is in it. Nothing is copied.

    The landing gets links to the files, so they must stay where they are. `kale run ingest` and `kale run images` then
    read them in place.
    """
    from kale_tasks.lake.landing import link_files

    number = link_files(settings(sets), source, key)
    print(f"Linked {number:,} files as the landing files of {key}.")
    check(key, sets=sets)
