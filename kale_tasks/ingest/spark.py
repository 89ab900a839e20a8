"""The engine for large keys: Spark, embedded or a cluster, with nothing but this package on its workers."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from kale_tasks.ingest.engine import Consume
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.scan import Scan, packed, unpacked
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.storage.base import Storage
from kale_tasks.settings.ingest import Ingest
from kale_tasks.spark import open_session

_Batches = Iterator[pa.RecordBatch]


class Spark:
    """Queries on executors. They read and write the warehouse through Arrow, so that S3 needs no jar."""

    def __init__(self, settings: Ingest, storage: Storage, scratch: str) -> None:
        self._storage, self._scratch, self._numbers = storage, scratch, itertools.count()
        memory = settings.memory.lower().removesuffix("b")
        defaults = {"spark.driver.memory": memory, "spark.sql.execution.arrow.maxRecordsPerBatch": "16384"}
        self._spark = open_session("kale ingest", settings.spark, defaults)
        self._cores = self._spark.sparkContext.defaultParallelism
        if "spark.sql.shuffle.partitions" not in settings.spark.conf:
            self._spark.conf.set("spark.sql.shuffle.partitions", str(4 * self._cores))

    def scan(self, scan: Scan, pieces: Sequence[Piece]) -> Iterator[str]:
        """Clean every piece, one task each."""
        work = list(pieces)
        return iter(self._spark.sparkContext.parallelize(work, len(work) or 1).map(scan).collect())

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> None:
        """Files as a table, some of them to a task."""
        storage, columns, known = self._storage, schema.names, list(paths)

        def batches(numbers: _Batches) -> _Batches:
            for batch in numbers:
                for number in batch["id"].to_pylist():
                    yield from unpacked(storage, known[number], columns)

        tasks = max(1, min(len(known), 8 * self._cores))
        frame = self._spark.range(0, len(known), 1, tasks).mapInArrow(batches, from_arrow_schema(schema))
        frame.createOrReplaceTempView(name)

    def view(self, name: str, query: str) -> None:
        """Computed when it is asked for, together with what asks."""
        self._spark.sql(query).createOrReplaceTempView(name)

    def keep(self, name: str, query: str) -> None:
        """The result as files, so that neither a lost worker nor a long history makes it anew."""
        frame = self._spark.sql(query)
        storage, schema = self._storage, to_arrow_schema(frame.schema)
        stem = f"{self._scratch}/{name}-{next(self._numbers)}"

        def written(batches: _Batches) -> _Batches:
            from pyspark import TaskContext

            task = TaskContext.get()
            first = next(batches, None)
            if first is not None and task is not None:
                path = f"{stem}-{task.partitionId():05d}.parquet"
                storage.put(path, packed(itertools.chain([first], batches), schema))
                yield pa.RecordBatch.from_pydict({"path": [path]})

        self.read(name, self._strings(frame, written, "path"), schema)

    def count(self, query: str) -> int:
        """The one number that a query answers with."""
        return int(self._spark.sql(query).collect()[0][0])

    def consume(self, query: str, consume: Consume) -> Iterator[PartMeta]:
        """Whole parts to each task, sorted."""
        rows = self._spark.sql(query).repartition(4 * self._cores, "part").sortWithinPartitions("part", "uid", "id")

        def consumed(batches: _Batches) -> _Batches:
            for meta in consume(batches):
                yield pa.RecordBatch.from_pydict({"meta": [json.dumps(asdict(meta))]})

        for meta in self._strings(rows, consumed, "meta"):
            yield PartMeta(**json.loads(meta))

    def close(self) -> None:
        """Stop the session."""
        self._spark.stop()

    def _strings(self, frame: DataFrame, work: Callable[[_Batches], _Batches], column: str) -> list[str]:
        # One short string for each file or part: all that ever comes to the driver.
        return sorted(row[0] for row in frame.mapInArrow(work, f"{column} string").collect())
