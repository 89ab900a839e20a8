"""The engine of a selection for large keys: Spark's executors read and compare blocks of vectors."""

import pyarrow as pa

from kale_tasks.selection.engine import BlockWork
from kale_tasks.settings.ingest import Ingest
from kale_tasks.spark import open_session


class SparkEngine:
    """Works on a block in each task; queries are Spark's."""

    def __init__(self, settings: Ingest) -> None:
        self._spark = open_session("kale-selection", settings.spark, {"spark.sql.session.timeZone": "UTC"})

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
