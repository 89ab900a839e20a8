"""Cleans one piece of the landing files into scratch files, on any worker of an engine."""

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.ingest.clean import CLEAN, RowCleaner
from kale_tasks.ingest.pieces import Piece, tag_of
from kale_tasks.ingest.sources import read_piece
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.storage.base import Storage

_BATCHES = 16  # of 4,096 rows each that one scratch file has at most


@dataclass(frozen=True)
class Scan:
    """Everything that a worker needs to clean a piece. Can be pickled."""

    landing: Storage
    warehouse: Storage
    folder: str  # for scratch files, relative to the warehouse
    cleaner: RowCleaner
    limit: int | None  # most rows to take from a piece

    def stem(self, piece: Piece) -> str:
        """Return how the paths of a piece's cleaned rows begin."""
        # Named by what is in it: another try may divide the files into other pieces, or find other files landed.
        groups = piece.groups or (0,)
        tag = short_sha256(f"{piece.file.path} {tag_of(self.landing, piece.file)}")[:8]
        name = f"{piece.file.number:05d}-{piece.first_row:012d}-{groups[0]}-{groups[-1]}-{tag}"
        return f"{self.folder}/clean-{name}"

    def __call__(self, piece: Piece) -> list[str]:
        """Clean a piece, unless an earlier attempt has, and return the paths of its rows: of some rows each.

        So a file of any size, which cannot be divided, is cleaned in bounded memory.
        """
        stem = self.stem(piece)  # before the file is read: what lands meanwhile has another tag
        finished = f"{stem}.json"
        if self.warehouse.exists(finished):
            return list(map(str, json.loads(self.warehouse.read(finished))))
        paths, batches = list[str](), self._cleaned(piece)
        while some := list(itertools.islice(batches, _BATCHES)):
            paths.append(f"{stem}-{len(paths):06d}.parquet")
            self.warehouse.put(paths[-1], to_parquet(iter(some), CLEAN))
        self.warehouse.put(finished, json.dumps(paths).encode())
        return paths

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
