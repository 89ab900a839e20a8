"""The engine for keys that one machine holds: DuckDB in this process, reading by a few processes beside it."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from kale_tasks.ingest.engine import Consume
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.scan import Scan
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.storage.base import Storage
from kale_tasks.settings.ingest import Ingest

_BATCH_ROWS = 16_384


class Duck:
    """Queries on this machine; what does not fit into memory goes to disk."""

    def __init__(self, settings: Ingest, storage: Storage) -> None:
        self._settings, self._storage = settings, storage
        self._spill = tempfile.mkdtemp(prefix="kale-ingest-")
        self._db = duckdb.connect()
        self._db.execute(f"SET temp_directory = '{self._spill}'; SET memory_limit = '{settings.memory}'")
        self._db.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
        self._db.execute("CREATE MACRO explode(list) AS unnest(list)")  # Spark's word for it

    def scan(self, scan: Scan, pieces: Sequence[Piece]) -> Iterator[str]:
        """Clean every piece; a single one in this process."""
        workers = min(self._settings.workers or os.cpu_count() or 1, len(pieces))
        if workers <= 1:
            yield from map(scan, pieces)
            return
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(scan, pieces)

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> None:
        """Files as a table; DuckDB asks Arrow for the columns and rows it needs, on S3 too."""
        self._db.register(
            name, ds.dataset(list(paths), schema, "parquet", self._storage.arrow) if paths else schema.empty_table()
        )

    def view(self, name: str, query: str) -> None:
        """Computed at once: that is cheap here."""
        self.keep(name, query)

    def keep(self, name: str, query: str) -> None:
        """The result as a table, in place of one of that name."""
        self._db.execute(f"CREATE TABLE next AS {query}")
        self._db.unregister(name)
        self._db.execute(f"DROP TABLE IF EXISTS {name}; ALTER TABLE next RENAME TO {name}")

    def count(self, query: str) -> int:
        """The one number that a query answers with."""
        found = self._db.execute(query).fetchone()
        return int(found[0]) if found else 0

    def consume(self, query: str, consume: Consume) -> Iterator[PartMeta]:
        """One stream of sorted rows."""
        yield from consume(iter(self._db.sql(f"{query} ORDER BY part, uid, id").to_arrow_reader(_BATCH_ROWS)))

    def close(self) -> None:
        """Close the database and remove what it left on disk."""
        self._db.close()
        shutil.rmtree(self._spill, ignore_errors=True)
