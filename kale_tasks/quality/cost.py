"""Reads from the ledger what the runs of a key took: time, memory, tokens and money."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kale_tasks.lake.tables import Lake
from kale_tasks.quality.committed import Found
from kale_tasks.resources import sql


@dataclass(frozen=True)
class Effort:
    """Time, memory and counts of one run of a key."""

    heading: str  # of the run in the report
    rows: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    attempts: int
    code: str
    figures: dict[str, float]

    @property
    def rows_per_second(self) -> float:
        """Rows read per second of work."""
        return self.rows / self.seconds if self.seconds else 0.0


def efforts(lake: Lake, key: str, found: Sequence[Found]) -> list[Effort]:
    """Sum up the work of each committed run, in the order of the steps."""
    known = [{"heading": f.heading, "step": f.step, "fingerprint": f.committed.fingerprint} for f in found]
    committed = pa.Table.from_pylist(known)
    with lake.duckdb(["runs"], key) as connection:
        connection.register("committed", committed)
        rows = connection.sql(sql("reports/effort")).to_arrow_table().to_pylist()
    order = [f.heading for f in found]
    return sorted((_effort(row) for row in rows), key=lambda effort: order.index(effort.heading))


def _effort(row: dict[str, Any]) -> Effort:
    figures: Counter[str] = Counter()
    for text in row["metrics"]:
        figures.update(json.loads(text or "{}"))
    return Effort(
        heading=row["heading"],
        rows=int(row["rows_in"]),
        seconds=row["seconds"],
        cpu_seconds=row["cpu_seconds"],
        peak_mb=row["peak_mb"],
        attempts=row["attempts"],
        code=row["code"],
        figures={name: round(float(value), 3) for name, value in sorted(figures.items())},
    )
