"""What was committed to a table, and what changed between two of its snapshots."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Lake
from kale_tasks.resources import sql


def commits(lake: Lake, name: str) -> Iterator[dict[str, Any]]:
    """Yield the commits of a table, the latest last: key, step, run, rows and time."""
    for snapshot in lake.table(name).snapshots():
        properties = snapshot.summary.additional_properties if snapshot.summary else {}
        counts = json.loads(properties.get("kale.counts", "{}"))
        yield {
            "table": name,
            "snapshot": snapshot.snapshot_id,
            "key": properties.get("kale.key"),
            "step": properties.get("kale.step"),
            "fingerprint": properties.get("kale.fingerprint"),
            "kept": counts.get("kept"),
            "note": properties.get("kale.note"),
            "at": datetime.fromtimestamp(snapshot.timestamp_ms / 1000, tz=UTC).isoformat(timespec="seconds"),
        }


def compare(lake: Lake, table: str, old: int, new: int) -> list[dict[str, Any]]:
    """Count files and rows that left or joined a table between two snapshots, by key and slice.

    ValueError if a snapshot has expired.
    """
    import duckdb
    import pyarrow as pa

    schema = pa.schema([("path", pa.string()), ("partition", pa.string()), ("rows", pa.int64())])
    connection = duckdb.connect()
    for name, snapshot in (("old_files", old), ("new_files", new)):
        files = [
            {"path": file.path, "partition": partition.name, "rows": file.rows}
            for partition, some in lake.files_at(table, snapshot).items()
            for file in some
        ]
        connection.register(name, pa.Table.from_pylist(files, schema))
    found: list[dict[str, Any]] = connection.sql(sql("reports/snapshot_diff")).to_arrow_table().to_pylist()
    places = [Partition.parse(table, row.pop("partition")) for row in found]
    return [{"key": place.key, **place.columns, **row} for place, row in zip(places, found, strict=True)]
