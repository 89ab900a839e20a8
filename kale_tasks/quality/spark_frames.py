"""Rows of large keys in Spark. Executors read the files through the storage of the lake, without a jar."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.parts import read_columns
from kale_tasks.lake.schemas import TABLES
from kale_tasks.quality.frames import BATCH, Frames, derived
from kale_tasks.quality.suite import Suite

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROWS_A_SLOT = 50_000  # of a shuffle


class SparkFrames(Frames):
    """All rows, as a Spark data frame."""

    engine = "spark"

    @cached_property
    def batch(self) -> "DataFrame":
        """The rows with their derived columns, read once."""
        suite, rows = self.subject.suite, self.subject.rows
        schema = derived(suite, rows.read(0, 0, suite.columns)).schema
        frame = self._read(self.subject.spec.table, rows.files, list(suite.columns), schema, suite).persist()
        frame.createOrReplaceTempView(BATCH)
        return frame

    @property
    def looked_at(self) -> int:
        return self.subject.rows.count

    def query(self, text: str) -> list[dict[str, Any]]:
        assert self.batch
        for name, columns in self.subject.suite.tables.items():
            schema = pa.schema([TABLES[name].arrow.field(column) for column in columns])
            files = [file for found in self.subject.table(name) for file in found.files]
            self._read(name, files, list(columns), schema, None).createOrReplaceTempView(name)
        return [row.asDict() for row in self._session.sql(text).collect()]

    def frame(self, columns: Sequence[str]) -> Any:
        return self.batch.select(*columns)

    @cached_property
    def _session(self) -> "SparkSession":
        from kale_tasks.spark import open_session

        slots = max(1, min(200, self.subject.committed.rows // _ROWS_A_SLOT))
        of = self.subject.settings.ingest.spark
        return open_session("kale check", of, {"spark.sql.shuffle.partitions": str(slots)})

    def _read(
        self, table: str, files: Sequence[DataFile], columns: Sequence[str], schema: pa.Schema, suite: Suite | None
    ) -> "DataFrame":
        from pyspark.sql.pandas.types import from_arrow_schema

        storage = self.subject.lake.storage
        stored = TABLES[table].selected(columns)

        def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for path in batch["path"].to_pylist():
                    rows = read_columns(storage, path, stored)
                    yield from (derived(suite, rows) if suite else rows).cast(schema).to_batches()

        paths = [(file.path,) for file in files]
        slots = max(1, min(len(paths), 4 * self._session.sparkContext.defaultParallelism))
        return (
            self._session.createDataFrame(paths, "path string")
            .repartition(slots)
            .mapInArrow(read, from_arrow_schema(schema))
        )
