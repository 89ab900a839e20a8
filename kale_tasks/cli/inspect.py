"""Commands that look at the lake: `kale status`, `kale pending`, `kale show`, `kale history`, `kale diff`."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kale_tasks.cli.options import (
    AsJson,
    Key,
    Preview,
    Recipe,
    Sets,
    open_lake,
    say,
    say_table,
    settings,
    with_preview,
    with_recipe,
)
from kale_tasks.errors import BadConfig

if TYPE_CHECKING:
    from kale_tasks.lake.tables import Lake


def _check_table(name: str | None) -> str | None:
    from kale_tasks.lake.schemas import TABLES

    if name is not None and name not in TABLES:
        raise BadConfig(f"There is no table '{name}'. Tables: {', '.join(TABLES)}.")
    return name


Table = Annotated[str, typer.Argument(callback=_check_table, help="A table, such as pairs, images, captions or runs.")]
OptionalTable = Annotated[str | None, typer.Argument(callback=_check_table, help="Only this table.")]
Quiet = Annotated[
    float, typer.Option("--quiet-hours", min=0, help="Leave out keys for which something was written in these hours.")
]
Snapshot = Annotated[int, typer.Argument(help="Snapshot id, from `kale history`.")]


def status(sets: Sets = None, preview: Preview = None, json: AsJson = False) -> None:
    """Show every key and step: missing, stale, committed, blocked (its checks failed) or preview; rows and age.

    All configured recipes are shown (`caption.recipe`, `schedule.recipes`). A dash means that a step makes
    no rows for this key: `distill` and `release` work on all keys, the others on one.
    """
    from kale_tasks.status import all_states

    of = settings(with_preview(sets, preview))
    rows = all_states(open_lake(of), of)
    if json:
        say(rows, True)
        return
    several = len({row["recipe"] for row in rows} - {None}) > 1
    columns = dict.fromkeys(_column(row, several) for row in rows)
    grid: dict[str, dict[str, Any]] = {}
    for row in rows:
        text = row["state"] if row["state"] == "missing" else f"{row['state']} {row['rows']:,}, {row['age']}"
        grid.setdefault(row["key"], {"key": row["key"], **dict.fromkeys(columns, "-")})[_column(row, several)] = text
    say_table(list(grid.values()), False)


def pending(quiet: Quiet = 0, sets: Sets = None, json: AsJson = False) -> None:
    """List pending work: keys without images, without captions of each recipe, students that are due, keys to release.

    `ingest` lists keys whose pairs may be in an earlier key too: run ingest for them, in this order. Stale keys are
    listed with those that lack rows. Blocked keys, and held ones to ingest, are not: a person must decide about them.
    """
    from kale_tasks.pending import pending_work

    of = settings(sets)
    found = pending_work(open_lake(of), of, timedelta(hours=quiet))
    of_recipes = [
        (f"{recipe}: {what}", value) for recipe, lacks in found["recipes"].items() for what, value in lacks.items()
    ]
    listed = [("ingest", found["ingest"]), ("images", found["images"]), *of_recipes, ("release", found["release"])]
    rows = [{"what": what, "found": _in_words(value)} for what, value in listed]
    say(found, True) if json else say_table(rows, False)


def show(
    table: Table,
    key: Key,
    out: Annotated[Path | None, typer.Option(help="Write all rows to this file: .parquet, .csv or .jsonl.")] = None,
    rows: Annotated[int, typer.Option(help="Rows to print.")] = 10,
    preview: Preview = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Print the first rows of a key in a table, or write all of them to a file."""
    lake = open_lake(settings(with_preview(sets, preview)))
    if out is None:
        say_table(_first(lake, table, key, rows), json)
        return
    from kale_tasks.explore.export import export
    from kale_tasks.lake.schemas import TABLES

    written = export(lake.batches(table, key), TABLES[table].arrow, out)
    say({"table": table, "key": key, "rows": written, "out": str(out)}, json, f"{written} rows written to {out}.")


def export(
    kind: Annotated[
        str,
        typer.Argument(help="sft (TRL), llava, dpo (better and worse texts), composed (near pictures), or a table."),
    ],
    key: Key,
    out: Annotated[Path, typer.Option(help="File: .jsonl or .json; of a table also .parquet, .csv or .lance.")],
    recipe: Recipe = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Write captions as rows that trainers read, with their images in a folder beside, or a table as it is."""
    from kale_tasks.explore.export import export as write
    from kale_tasks.explore.export import export_lessons
    from kale_tasks.explore.lessons import KINDS, Lessons
    from kale_tasks.lake.schemas import TABLES
    from kale_tasks.recipes.recipe import load_recipe

    of = settings(with_recipe(sets, recipe))
    lake = open_lake(of)
    if kind in KINDS:
        lessons = Lessons(lake, key, load_recipe(of.caption.recipe), out.with_name(f"{out.stem}-images"))
        written = export_lessons(KINDS[kind](lessons), out)
    elif kind in TABLES:
        written = write(lake.batches(kind, key), TABLES[kind].arrow, out)
    else:
        raise BadConfig(f"There is no '{kind}' to export. Known: {', '.join([*KINDS, *TABLES])}.")
    say({"kind": kind, "key": key, "rows": written, "out": str(out)}, json, f"{written} rows written to {out}.")


def history(
    table: OptionalTable = None,
    key: Annotated[str | None, typer.Option("--key", help="Only this key.")] = None,
    last: Annotated[int, typer.Option(min=1, help="Only this many, the latest ones.")] = 1_000_000,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """List the commits: table, key, step, run, rows and time, the latest last."""
    from kale_tasks.lake.changes import commits

    lake = open_lake(settings(sets))
    rows = [
        row
        for name in ([table] if table else lake.tables())
        for row in commits(lake, name)
        if key in (None, row["key"])
    ]
    say_table(sorted(rows, key=lambda r: r["at"])[-last:], json)


def diff(table: Table, old: Snapshot, new: Snapshot, sets: Sets = None, json: AsJson = False) -> None:
    """Compare two snapshots of a table: files and rows added and removed, by key; of captions, by recipe and stage."""
    from kale_tasks.lake.changes import compare

    lake = open_lake(settings(sets))
    if missing := [i for i in (old, new) if lake.table(table).snapshot_by_id(i) is None]:
        raise BadConfig(f"{table} has no snapshot {missing[0]}. `kale history {table}` lists them.")
    say_table(compare(lake, table, old, new), json)


def _in_words(value: Any) -> str:
    if isinstance(value, dict):  # a student that is due, or not yet
        return f"{value['new_rows']:,} new captions, {value['wanted']:,} make one due"
    return ", ".join(value) if isinstance(value, list) else str(value or "none")


def _column(row: dict[str, Any], several: bool) -> str:
    return f"{row['recipe']}: {row['step']}" if several and row["recipe"] else str(row["step"])


def _first(lake: "Lake", table: str, key: str, rows: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for batch in lake.batches(table, key):
        found += batch.slice(0, rows - len(found)).to_pylist()
        if len(found) >= rows:
            break
    return found
