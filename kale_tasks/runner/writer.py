"""Writes the part files of a run, every row accounted for. A receipt then claims the number of the part for them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.contract.types import Part, Quarantined
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake import parts
from kale_tasks.lake.columns import fill_columns
from kale_tasks.lake.maintain import WITHDRAWN
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage
from kale_tasks.runner.receipts import Receipt, claim


@dataclass(frozen=True)
class Writer:
    """Writes the parts of one run. Can be pickled, to write from a Spark executor."""

    storage: Storage
    step: str
    table: str
    key: str
    fingerprint: str
    quarantine: str = ""  # what rows of the table `quarantine` name as their step; empty: the step

    def folder(self, table: str) -> str:
        """The folder of this run's files in a table, relative to the warehouse."""
        return run_folder(table, self.key, self.fingerprint)

    def write(self, part: Part) -> PartMeta:
        """Write a part's files and claim its number. Returns the account of the attempt that was first."""
        return claim(self.storage, self.folder(self.table), self.store(part)).meta

    def store(self, part: Part) -> Receipt:
        """Write a part's files without claiming its number; BadData if its rows do not add up or have another key."""
        quarantine = self._quarantine_rows(part.quarantine)
        side = {**part.also, **({"quarantine": quarantine} if part.quarantine else {})}
        tables = {name: conform(name, table) for name, table in sorted(side.items()) if table.num_rows}
        rows = conform(self.table, part.rows)
        meta = PartMeta(
            fingerprint=self.fingerprint,
            number=part.number,
            rows_in=part.rows_in,
            kept=rows.num_rows,
            dropped={rule: n for rule, n in sorted(part.dropped.items()) if n},
            quarantined=len(part.quarantine),
            also={name: table.num_rows for name, table in tables.items()},
            metrics=dict(sorted(part.metrics.items())),
            content=parts.digest(rows, *tables.values()),
        )
        if not meta.balanced:
            raise BadData(
                f"{self.step} {self.key} part {part.number} lost rows: {meta.rows_in} in, {meta.kept} kept, "
                f"{dict(meta.dropped)} dropped, {meta.quarantined} quarantined. This is a defect of the step."
            )
        for name, table in (*tables.items(), (self.table, rows)):
            if pc.any(pc.not_equal(table["key"], self.key)).as_py():
                raise BadData(
                    f"{self.step} {self.key} part {part.number} has rows of another key for {name}. "
                    "This is a defect of the step."
                )
        metas = {name: replace(meta, kept=table.num_rows) for name, table in tables.items()}
        if rows.num_rows:
            tables[self.table], metas[self.table] = rows, meta
        with ThreadPoolExecutor(max(1, len(tables))) as at_once:  # to write a small file is to wait for the disk
            written = {
                name: at_once.submit(parts.write, self.storage, self.folder(name), metas[name], table)
                for name, table in tables.items()
            }
        files = {name: file.result() for name, file in written.items()}
        return Receipt(meta, files, tuple(part.shards))

    def _quarantine_rows(self, rows: Sequence[Quarantined]) -> pa.Table:
        return pa.Table.from_pylist(
            [
                {"uid": q.uid, "key": self.key, "step": self.quarantine or self.step, "reason": q.reason,
                 "detail": q.detail[:200], "attempts": q.attempts}
                for q in sorted(rows, key=lambda q: (q.uid, q.reason))
            ],
            schema=TABLES["quarantine"].arrow,
        )  # fmt: skip


def run_folder(table: str, key: str, fingerprint_: str) -> str:
    """The folder of a run's files in a table, relative to the warehouse."""
    return f"{table}/key={key}/{fingerprint_}"


def is_withdrawn(storage: Storage, folder: str) -> bool:
    """Whether maintenance deletes, or has deleted, the files of a run because nobody used them."""
    return storage.exists(f"{folder}/{WITHDRAWN}")


def conform(table: str, rows: pa.Table) -> pa.Table:
    """Give rows the table's columns and types; a missing nullable column is null, an unknown one is an error."""
    schema = TABLES[table].arrow
    if unknown := set(rows.column_names) - set(schema.names):
        raise BadConfig(f"{table} has no column {', '.join(sorted(unknown))}. Add it to lake/schemas.py.")
    return fill_columns(rows, schema)
