"""Turns a finished batch into its shard and its part."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from kale_tasks.contract.step import Part
from kale_tasks.images.duplicates import Evaluation
from kale_tasks.images.fetch_loop import Batch
from kale_tasks.images.tars import write_shard
from kale_tasks.lake.schemas import TABLES
from kale_tasks.runner.run import Run

_BESIDE = ("uid", "sha256", "width", "height", "mime", "phash", "final_url")  # what an image's JSON in a shard tells


def finish(run: Run, batch: Batch, evaluation: Evaluation) -> Part:
    """The part of a batch, its shard put first."""
    rows = sorted(batch.rows, key=lambda row: row["uid"])
    _store(run, batch, rows)
    for row in rows:
        row["key"] = run.key
        if isinstance(row.get("fetched_at"), str):
            row["fetched_at"] = datetime.fromisoformat(row["fetched_at"])
        if row["status"] == "ok" and evaluation.knows(row["phash"]) and "evaluation_image" not in row["flags"]:
            row["flags"] = [*row["flags"], "evaluation_image"]
    table = pa.Table.from_pylist(rows, schema=TABLES["images"].arrow)
    return Part(batch.number, table, batch.rows_in, quarantine=batch.quarantine)


def _store(run: Run, batch: Batch, rows: list[dict[str, Any]]) -> None:
    new = [row for row in rows if row["status"] == "ok" and not row.get("shard")]
    if not new:
        return
    name = f"{run.folder}/shard-{batch.number:05d}.tar"
    path = Path(f"{batch.spool.path}.tar")
    places = write_shard(path, ((row["uid"], batch.spool.image(row["uid"]), _beside(row)) for row in new))
    run.measure("bytes", path.stat().st_size)
    run.lake.storage.put(name, path)
    path.unlink()
    for row in new:
        row["shard"] = name
        row["offset"], row["length"] = places[row["uid"]]


def _beside(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _BESIDE}
