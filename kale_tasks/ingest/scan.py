"""Cleans a piece of the landing into a file of its own in the run's scratch folder, wherever there is a free core."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.ingest.clean import CLEAN, Cleaner
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.sources import read
from kale_tasks.lake.storage.base import Storage


@dataclass(frozen=True)
class Scan:
    """All that a worker needs to clean a piece; can be sent to another process."""

    landing: Storage
    warehouse: Storage
    folder: str
    cleaner: Cleaner
    limit: int | None

    def path(self, piece: Piece) -> str:
        """Where the cleaned rows of a piece stand."""
        return f"{self.folder}/rows-{piece.number:05d}.parquet"

    def __call__(self, piece: Piece) -> str:
        """Clean a piece, unless it was done before; answers with its path."""
        if not self.warehouse.exists(self.path(piece)):
            self.warehouse.put(self.path(piece), packed(self._cleaned(piece), CLEAN))
        return self.path(piece)

    def _cleaned(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        left = self.limit
        for batch in read(self.landing, piece, self.cleaner.settings.columns):
            some = batch if left is None else batch.slice(0, left)
            yield self.cleaner.clean(piece.file, some)
            if left is not None and (left := left - some.num_rows) <= 0:
                return


def packed(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """Batches as one Parquet file in memory, quick to write and to read."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="lz4") as writer:
        for batch in batches:
            writer.write_batch(batch)
    return buffer.getvalue()


def unpacked(storage: Storage, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of such a file."""
    with storage.arrow.open_input_file(path) as file:
        yield from pq.ParquetFile(file).iter_batches(16_384, columns=columns)
