"""The engine for keys that fit on one machine: DuckDB in this process, with worker processes that clean rows."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from kale_tasks.ingest.earlier import EarlierEntries
from kale_tasks.ingest.engine import PARAMETER, Consume, Query
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.scan import Scan
from kale_tasks.lake.parts import CHECKED_PARQUET, PartMeta
from kale_tasks.lake.segments import Segment
from kale_tasks.lake.storage.base import Storage
from kale_tasks.process import SCRATCH, exit_with_parent
from kale_tasks.settings.ingest import Ingest

_BATCH_ROWS = 16_384


class DuckEngine:
    """Runs queries in this process. What does not fit in `ingest.memory` is spilled to a temporary folder."""

    def __init__(self, settings: Ingest, storage: Storage) -> None:
        self._settings, self._storage = settings, storage
        self._spill = tempfile.mkdtemp(prefix=f"{SCRATCH}ingest-")
        self._db = duckdb.connect()
        self._db.execute(f"SET temp_directory = '{self._spill}'; SET memory_limit = '{settings.memory}'")
        self._db.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
        self._db.execute("CREATE MACRO explode(list) AS unnest(list)")  # Spark's name of the function

    def scan(self, scan: Scan, pieces: Sequence[Piece]) -> Iterator[str]:
        """Clean every piece in a pool of processes; a single one in this process."""
        workers = min(self._settings.workers or os.cpu_count() or 1, len(pieces))
        if workers <= 1:
            yield from chain.from_iterable(map(scan, pieces))
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, exit_with_parent, (os.getpid(),)) as pool:
            yield from chain.from_iterable(pool.map(scan, pieces))

    def search(self, entries: EarlierEntries, segments: Sequence[Segment]) -> Iterator[str]:
        """Search one segment after the other in this process."""
        return chain.from_iterable(map(entries, segments))

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> None:
        """Register files as a table. DuckDB reads only the columns and rows it needs, from S3 as well."""
        self._db.register(
            name,
            ds.dataset(list(paths), schema, CHECKED_PARQUET, self._storage.arrow) if paths else schema.empty_table(),
        )

    def create_view(self, name: str, query: Query) -> None:
        """Compute the query at once, which is cheap in one process."""
        self.create_table(name, query)

    def create_table(self, name: str, query: Query) -> None:
        """Replace the table of that name by the result of a query, which may read the old one."""
        self._execute(f"CREATE TABLE next AS {query.text}", query)
        self._db.unregister(name)
        self._db.execute(f"DROP TABLE IF EXISTS {name}; ALTER TABLE next RENAME TO {name}")

    def fetch_number(self, query: Query) -> int:
        """Return the single number that a query selects."""
        found = self._execute(query.text, query).fetchone()
        return int(found[0]) if found else 0

    def consume(self, query: Query, consume: Consume) -> Iterator[PartMeta]:
        """Pass all rows in one sorted stream, in this process."""
        rows = self._db.sql(_translated(f"{query.text} ORDER BY part, uid, id"), params=dict(query.values) or None)
        yield from consume(iter(rows.to_arrow_reader(_BATCH_ROWS)))

    def close(self) -> None:
        """Close the database and delete its temporary folder."""
        self._db.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def _execute(self, text: str, query: Query) -> duckdb.DuckDBPyConnection:
        return self._db.execute(_translated(text), dict(query.values))


def _translated(text: str) -> str:
    # DuckDB marks named parameters with $ where Spark has a colon.
    return PARAMETER.sub(r"$\1", text)
