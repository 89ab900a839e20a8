"""The engine for large keys: Spark, embedded or a cluster. Its workers need only this package."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from kale_tasks.ingest.earlier import EarlierEntries
from kale_tasks.ingest.engine import Consume, Query
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.scan import Scan, read_batches, to_parquet
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.segments import Segment
from kale_tasks.lake.storage.base import Storage
from kale_tasks.settings.ingest import Ingest
from kale_tasks.spark import driver_memory, open_session

_Batches = Iterator[pa.RecordBatch]


class SparkEngine:
    """Runs queries on executors, which read and write the warehouse through Arrow, so that S3 needs no jar."""

    def __init__(self, settings: Ingest, storage: Storage, scratch: str) -> None:
        self._storage, self._scratch, self._numbers = storage, scratch, itertools.count()
        defaults = {**driver_memory(settings.memory), "spark.sql.execution.arrow.maxRecordsPerBatch": "16384"}
        self._spark = open_session("kale ingest", settings.spark, defaults)
        self._cores = self._spark.sparkContext.defaultParallelism

    def scan(self, scan: Scan, pieces: Sequence[Piece]) -> Iterator[str]:
        """Clean every piece, one task per piece."""
        work = list(pieces)
        return iter(self._spark.sparkContext.parallelize(work, len(work) or 1).flatMap(scan).collect())

    def search(self, entries: EarlierEntries, segments: Sequence[Segment]) -> Iterator[str]:
        """Search some segments in each task, as a task reads all hashes of the key first."""
        tasks = max(1, min(len(segments), self._cores))
        return iter(self._spark.sparkContext.parallelize(list(segments), tasks).flatMap(entries).collect())

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> None:
        """Register files as a table, several files per task."""
        storage, columns, files = self._storage, schema.names, list(paths)

        def batches(numbers: _Batches) -> _Batches:
            for batch in numbers:
                for number in batch["id"].to_pylist():
                    yield from (_filled(b, schema) for b in read_batches(storage, files[number], columns))

        tasks = max(1, min(len(files), 8 * self._cores))
        frame = self._spark.range(0, len(files), 1, tasks).mapInArrow(batches, from_arrow_schema(schema))
        frame.createOrReplaceTempView(name)

    def create_view(self, name: str, query: Query) -> None:
        """Register a lazy view, which Spark plans together with the queries that use it."""
        self._select(query).createOrReplaceTempView(name)

    def create_table(self, name: str, query: Query) -> None:
        """Write the result to scratch files, so that neither a lost worker nor a long lineage recomputes it."""
        frame = self._select(query)
        storage, schema = self._storage, to_arrow_schema(frame.schema)
        stem = f"{self._scratch}/{name}-{next(self._numbers)}"

        def written(batches: _Batches) -> _Batches:
            from pyspark import TaskContext

            task = TaskContext.get()
            first = next(batches, None)
            if first is not None and task is not None:
                path = f"{stem}-{task.partitionId():05d}.parquet"
                storage.put(path, to_parquet(itertools.chain([first], batches), schema))
                yield pa.RecordBatch.from_pydict({"path": [path]})

        self.read(name, self._strings(frame, written, "path"), schema)

    def fetch_number(self, query: Query) -> int:
        """Return the single number that a query selects."""
        return int(self._select(query).collect()[0][0])

    def consume(self, query: Query, consume: Consume) -> Iterator[PartMeta]:
        """Pass whole parts to each task, sorted."""
        rows = self._select(query).repartition(4 * self._cores, "part").sortWithinPartitions("part", "uid", "id")

        def consumed(batches: _Batches) -> _Batches:
            for meta in consume(batches):
                yield pa.RecordBatch.from_pydict({"meta": [json.dumps(asdict(meta))]})

        for meta in self._strings(rows, consumed, "meta"):
            yield PartMeta(**json.loads(meta))

    def close(self) -> None:
        """Stop the Spark session."""
        self._spark.stop()

    def _select(self, query: Query) -> DataFrame:
        return self._spark.sql(query.text, dict(query.values))

    def _strings(self, frame: DataFrame, work: Callable[[_Batches], _Batches], column: str) -> list[str]:
        # One short string per file or part is all that the driver collects.
        return sorted(row[0] for row in frame.mapInArrow(work, f"{column} string").collect())


def _filled(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    # Files of earlier versions lack newer columns.
    known = batch.schema.names
    columns = [batch[f.name] if f.name in known else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, names=schema.names)
