"""Cleans one piece of the landing files into a scratch file, on any worker of an engine."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.ingest.clean import CLEAN, RowCleaner
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.sources import read_piece
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.storage.base import Storage


@dataclass(frozen=True)
class Scan:
    """Everything that a worker needs to clean a piece. Can be pickled."""

    landing: Storage
    warehouse: Storage
    folder: str  # for scratch files, relative to the warehouse
    cleaner: RowCleaner
    limit: int | None  # most rows to take from a piece

    def path(self, piece: Piece) -> str:
        """Return the path of a piece's cleaned rows."""
        # Named by what is in it: another try may divide the files into other pieces, or find other files landed.
        groups = piece.groups or (0,)
        tag = short_sha256(f"{piece.file.path} {self.landing.tag(piece.file.path)}")[:8]
        name = f"{piece.file.number:05d}-{piece.first_row:012d}-{groups[0]}-{groups[-1]}-{tag}"
        return f"{self.folder}/clean-{name}.parquet"

    def __call__(self, piece: Piece) -> str:
        """Clean a piece, unless an earlier attempt has, and return the path of its rows."""
        path = self.path(piece)  # before the file is read: what lands meanwhile has another tag
        if not self.warehouse.exists(path):
            self.warehouse.put(path, to_parquet(self._cleaned(piece), CLEAN))
        return path

    def _cleaned(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        left = self.limit
        for batch in read_piece(self.landing, piece, self.cleaner.settings.columns):
            some = batch if left is None else batch.slice(0, left)
            yield self.cleaner.clean(piece.file, some)
            if left is not None and (left := left - some.num_rows) <= 0:
                return


def to_parquet(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """Write batches to a Parquet file in memory, with a compression that is fast to write and read."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="lz4") as writer:
        for batch in batches:
            writer.write_batch(batch)
    return buffer.getvalue()


def read_batches(storage: Storage, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file that `to_parquet` made."""
    with storage.arrow.open_input_file(path) as file:
        yield from pq.ParquetFile(file).iter_batches(16_384, columns=columns)
