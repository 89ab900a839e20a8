"""Looking at the lake: `kale status`, `kale show`, `kale history`, `kale diff`."""

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kale_tasks.cli.options import AsJson, Key, Sets, open_lake, say, say_table, settings
from kale_tasks.errors import BadConfig

if TYPE_CHECKING:
    from kale_tasks.lake.tables import Lake
    from kale_tasks.settings import Settings

Table = Annotated[str, typer.Argument(help="A table, such as pairs, images, captions or runs.")]
Snapshot = Annotated[int, typer.Argument(help="Snapshot id, from `kale history`.")]


def status(sets: Sets = None, json: AsJson = False) -> None:
    """Show every key and step: missing, stale, committed or failed (its checks); rows and age."""
    of = settings(sets)
    lake = open_lake(of)
    rows = _status(lake, of)
    if json:
        say(rows, True)
        return
    from kale_tasks.contract.registry import STEPS

    grid: dict[str, dict[str, Any]] = {}
    for row in rows:
        text = row["state"] if row["state"] == "missing" else f"{row['state']} {row['rows']:,}, {row['age']}"
        grid.setdefault(row["key"], {"key": row["key"], **dict.fromkeys(STEPS, "")})[row["step"]] = text
    say_table(list(grid.values()), False)


def pending(sets: Sets = None, json: AsJson = False) -> None:
    """List pending work: keys without images or captions, whether a new student is due, keys to release."""
    from kale_tasks.pending import pending_work

    of = settings(sets)
    found = pending_work(open_lake(of), of)
    rows = [{"what": name, "found": ", ".join(v) if isinstance(v, list) else v} for name, v in found.items()]
    say(found, True) if json else say_table(rows, False)


def show(
    table: Table,
    key: Key,
    out: Annotated[Path | None, typer.Option(help="Write all rows to this parquet file.")] = None,
    rows: Annotated[int, typer.Option(help="Rows to print.")] = 10,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Write a table's rows of a key to a parquet file, or print the first of them."""
    lake = open_lake(settings(sets))
    if out is None:
        say_table(_first(lake, table, key, rows), json)
        return
    import pyarrow.parquet as pq

    from kale_tasks.lake.schemas import TABLES

    lake.table(table)
    written = 0
    with _whole(out) as unfinished, pq.ParquetWriter(unfinished, TABLES[table].arrow, compression="zstd") as writer:
        for batch in lake.batches(table, key):
            writer.write_batch(batch.select(TABLES[table].arrow.names).cast(TABLES[table].arrow))
            written += batch.num_rows
    say({"table": table, "key": key, "rows": written, "out": str(out)}, json, f"{written} rows written to {out}.")


def history(
    table: Annotated[str | None, typer.Argument(help="Only this table.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Only this key.")] = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """List the commits: which run of which step put how many rows, and when."""
    lake = open_lake(settings(sets))
    rows = [
        row
        for name in ([table] if table else lake.tables())
        for row in _snapshots(lake, name)
        if key in (None, row["key"])
    ]
    say_table(sorted(rows, key=lambda r: r["at"]), json)


def diff(table: Table, old: Snapshot, new: Snapshot, sets: Sets = None, json: AsJson = False) -> None:
    """Compare two snapshots of a table: files and rows that came and went, by key."""
    lake = open_lake(settings(sets))
    if missing := [i for i in (old, new) if lake.table(table).snapshot_by_id(i) is None]:
        raise BadConfig(f"{table} has no snapshot {missing[0]}. `kale history {table}` lists them.")
    before = {f.path: f.rows for f in lake.files(table, snapshot_id=old)}
    after = {f.path: f.rows for f in lake.files(table, snapshot_id=new)}
    keys = sorted({_key(p) for p in before.keys() ^ after.keys()})
    rows = [
        {
            "key": key,
            "files_out": sum(1 for p in before.keys() - after.keys() if _key(p) == key),
            "rows_out": sum(before[p] for p in before.keys() - after.keys() if _key(p) == key),
            "files_in": sum(1 for p in after.keys() - before.keys() if _key(p) == key),
            "rows_in": sum(after[p] for p in after.keys() - before.keys() if _key(p) == key),
        }
        for key in keys
    ]
    say_table(rows, json)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    # The file appears complete or not at all.
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _status(lake: "Lake", of: "Settings") -> list[dict[str, Any]]:
    from kale_tasks.contract.registry import STEPS, find
    from kale_tasks.lake.landing import landing_keys
    from kale_tasks.runner.status import state

    found = {name: find(name) for name in STEPS}
    keys = sorted({*landing_keys(of), *(k for s in found.values() for k in lake.keys(s.table))})
    return [state(lake, of, step, key) for key in keys for step in found.values()]


def _first(lake: "Lake", table: str, key: str, rows: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for batch in lake.batches(table, key):
        found += batch.slice(0, rows - len(found)).to_pylist()
        if len(found) >= rows:
            break
    return found


def _snapshots(lake: "Lake", name: str) -> list[dict[str, Any]]:
    rows = []
    for snapshot in lake.table(name).snapshots():
        said = snapshot.summary.additional_properties if snapshot.summary else {}
        counts = jsonlib.loads(said.get("kale.counts", "{}"))
        rows.append(
            {
                "table": name,
                "snapshot": snapshot.snapshot_id,
                "key": said.get("kale.key"),
                "step": said.get("kale.step"),
                "fingerprint": said.get("kale.fingerprint"),
                "kept": counts.get("kept"),
                "note": said.get("kale.note"),
                "at": datetime.fromtimestamp(snapshot.timestamp_ms / 1000, tz=UTC).isoformat(timespec="seconds"),
            }
        )
    return rows


def _key(path: str) -> str:
    return path.split("key=", 1)[-1].split("/", 1)[0]
