"""The engines of a selection: DuckDB in this process, or Spark. Both give the same rows."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol

import pyarrow as pa

from kale_tasks.process import SCRATCH
from kale_tasks.settings.ingest import Ingest

BlockWork = Callable[[int], pa.Table]  # takes the number of a block, returns a row for each of its rows


class Engine(Protocol):
    """Works on blocks of vectors, and runs queries on what that finds: a few numbers a row."""

    def map(self, work: BlockWork, blocks: int) -> pa.Table:
        """Return what is found in all blocks, in their order."""

    def query(self, text: str, **tables: pa.Table) -> pa.Table:
        """Return the rows that a query selects from these tables."""

    def close(self) -> None:
        """Release all resources."""


class DuckEngine:
    """Works on one block after the other, with all cores that the products of matrices use.

    Queries spill what does not fit in the memory to a temporary folder.
    """

    def __init__(self, memory: str) -> None:
        import duckdb

        self._spill = tempfile.TemporaryDirectory(prefix=f"{SCRATCH}selection-")
        self._db = duckdb.connect(config={"memory_limit": memory, "temp_directory": self._spill.name})

    def map(self, work: BlockWork, blocks: int) -> pa.Table:
        """Work on one block after the other."""
        return pa.concat_tables(map(work, range(blocks)))

    def query(self, text: str, **tables: pa.Table) -> pa.Table:
        """Run a query in this process."""
        for name, table in tables.items():
            self._db.register(name, table)
        return self._db.sql(text).to_arrow_table()

    def close(self) -> None:
        """Close the database."""
        self._db.close()
        self._spill.cleanup()


class SparkEngine:
    """Works on a block in each task: executors read and compare blocks of vectors. Queries are Spark's."""

    def __init__(self, settings: Ingest) -> None:
        from kale_tasks.spark import driver_memory, open_session

        self._spark = open_session("kale selection", settings.spark, driver_memory(settings.memory))

    def map(self, work: BlockWork, blocks: int) -> pa.Table:
        """Work on each block in a task of its own. Later blocks take longer, so they come first."""

        def worked(block: int) -> tuple[int, bytes]:
            table, sink = work(block), pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            return block, sink.getvalue().to_pybytes()

        context = self._spark.sparkContext
        found = dict(context.parallelize(range(blocks - 1, -1, -1), max(blocks, 1)).map(worked).collect())
        return pa.concat_tables([pa.ipc.open_stream(found[block]).read_all() for block in range(blocks)])

    def query(self, text: str, **tables: pa.Table) -> pa.Table:
        """Run a query on the cluster."""
        for name, table in tables.items():
            self._spark.createDataFrame(table).createOrReplaceTempView(name)
        return self._spark.sql(text).toArrow()

    def close(self) -> None:
        """Stop the session."""
        self._spark.stop()


@contextmanager
def open_engine(settings: Ingest, rows: int) -> Iterator[Engine]:
    """Open the engine that `ingest.engine` names; `auto` is Spark for more than `ingest.small_rows` rows."""
    if settings.engine == "spark" or (settings.engine == "auto" and rows > settings.small_rows):
        engine: Engine = SparkEngine(settings)
    else:
        engine = DuckEngine(settings.memory)
    with closing(engine):
        yield engine
