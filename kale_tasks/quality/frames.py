"""Rows and derived columns that the checks read, for one engine: Arrow with DuckDB, or Spark."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.quality.suite import Subject, Suite

BATCH = "batch"  # name of the checked rows in queries


class Frames(ABC):
    """The rows of a subject in one engine."""

    engine: str

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @abstractmethod
    def query(self, text: str) -> list[dict[str, Any]]:
        """Run a query over `batch` and the other tables of the suite."""

    @abstractmethod
    def frame(self, columns: Sequence[str]) -> Any:
        """Return columns as a data frame of the engine."""

    @property
    @abstractmethod
    def looked_at(self) -> int:
        """Count the rows that were read."""


class ArrowFrames(Frames):
    """All rows in memory, or the first `quality.pandas_rows` by uid."""

    engine = "pandas"

    @cached_property
    def batch(self) -> pa.Table:
        """The rows with their derived columns."""
        suite, rows = self.subject.suite, self.subject.rows
        return pa.concat_tables(derived(suite, table) for table in _share(rows, suite, self._most))

    @property
    def looked_at(self) -> int:
        return int(self.batch.num_rows)

    def query(self, text: str) -> list[dict[str, Any]]:
        return list(self._connection.sql(text).to_arrow_table().to_pylist())

    def frame(self, columns: Sequence[str]) -> Any:
        return self.batch.select(list(columns)).to_pandas()

    @property
    def _most(self) -> int:
        return self.subject.settings.quality.pandas_rows

    @cached_property
    def _connection(self) -> Any:
        import duckdb

        connection = duckdb.connect()
        connection.register(BATCH, self.batch)
        for name, columns in self.subject.suite.tables.items():
            connection.register(name, _joined(self.subject, name, columns))
        return connection


def derived(suite: Suite, rows: pa.Table) -> pa.Table:
    """Add the derived columns of a suite. Bytes that are not UTF-8 are replaced, so that such texts can be counted."""
    rows = _readable(rows)
    for name, column in suite.features(rows).items():
        rows = rows.append_column(name, column)
    return rows


def _joined(subject: Subject, name: str, columns: Sequence[str]) -> pa.Table:
    empty = TABLES[name].selected(columns).empty_table()
    return pa.concat_tables([empty, *(rows for found in subject.table(name) for rows in found.batches(columns))])


def _share(rows: Snapshot, suite: Suite, most: int) -> Iterator[pa.Table]:
    # uids are hashes: the first rows in uid order are a fair sample, and only their files are read.
    left = most
    yield rows.read(0, 0, suite.columns)
    for table in rows.batches(suite.columns):
        yield table.slice(0, left)
        left -= table.num_rows
        if left <= 0:
            return


def _readable(rows: pa.Table) -> pa.Table:
    try:
        rows.validate(full=True)
        return rows
    except pa.ArrowInvalid:
        texts = [i for i, field in enumerate(rows.schema) if pa.types.is_string(field.type)]
        for i in texts:
            values = [v and v.decode("utf-8", "replace") for v in rows.column(i).cast(pa.binary()).to_pylist()]
            rows = rows.set_column(i, rows.schema.field(i), pa.array(values, pa.string()))
        return rows
