"""Files of a run: parts, its smallest finished pieces, and larger ones; named by content, with an account."""

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from kale_tasks.lake.columns import fill_columns
from kale_tasks.lake.storage.base import Storage

GROUP_ROWS = 1 << 13  # of a row group of a large file: what a reader of a few rows decodes
_META = "kale"
_FORMAT: Mapping[str, Any] = {"compression": "zstd", "store_schema": False, "write_page_checksum": True}
# Reads files as a dataset and compares the checksum of every page.
CHECKED_PARQUET = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


@dataclass(frozen=True)
class PartMeta:
    """The account of one part: where its rows went, what it cost, and a digest of its content."""

    fingerprint: str
    number: int
    rows_in: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    also: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    content: str = ""

    @property
    def balanced(self) -> bool:
        """in = kept + dropped by rule + quarantined."""
        return self.rows_in == self.kept + sum(self.dropped.values()) + self.quarantined


@dataclass(frozen=True)
class PartFile:
    """A part file as it was written; paths are relative to the warehouse."""

    path: str
    rows: int
    bytes: int
    sha256: str


def write(storage: Storage, folder: str, meta: PartMeta, rows: pa.Table) -> PartFile:
    """Put one part file. Equal rows give an equal file of an equal name; other rows never overwrite it."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, rows.schema, **_FORMAT) as writer:
        writer.write_table(rows.combine_chunks())  # the bytes must not depend on how the table was put together
        writer.add_key_value_metadata(_footer(meta))
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = _name(folder, meta.number, sha256)
    storage.put(path, data)
    return PartFile(path, rows.num_rows, len(data), sha256)


class LargeFile:
    """A file that is written in row groups, through a temporary file: no more than a row group is in memory.

    Equal rows give an equal file, in whatever pieces they are added.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._waiting = schema.empty_table()
        self._place = tempfile.TemporaryDirectory()
        self._path = Path(self._place.name, "rows.parquet")
        self._sink = pa.OSFile(str(self._path), "wb")
        self._writer = pq.ParquetWriter(self._sink, schema, **_FORMAT)

    def __enter__(self) -> "LargeFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._sink.close()
        self._place.cleanup()

    @property
    def bytes(self) -> int:
        """The bytes written so far."""
        return int(self._sink.tell())

    def add(self, rows: pa.Table) -> None:
        """Add rows, which must have the schema."""
        self.rows += rows.num_rows
        self._waiting = pa.concat_tables([self._waiting, rows])
        while self._waiting.num_rows >= GROUP_ROWS:
            self._write(self._waiting.slice(0, GROUP_ROWS))
            self._waiting = self._waiting.slice(GROUP_ROWS)

    def put(self, storage: Storage, folder: str, meta: PartMeta) -> PartFile:
        """Put the file, named by its content and the number of its first part."""
        if self._waiting.num_rows:
            self._write(self._waiting)
        self._writer.add_key_value_metadata(_footer(meta))
        self._writer.close()
        self._sink.close()
        with self._path.open("rb") as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
        path = _name(folder, meta.number, sha256)
        storage.put(path, self._path)
        return PartFile(path, self.rows, self._path.stat().st_size, sha256)

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks())


def _footer(meta: PartMeta) -> dict[str, str]:
    return {_META: json.dumps(asdict(meta), sort_keys=True)}


def _name(folder: str, number: int, sha256: str) -> str:
    return f"{folder}/part-{number:05d}-{sha256[:16]}.parquet"


def digest(*tables: pa.Table) -> str:
    """A hash of rows that is the same wherever and however often they are written."""
    sink = hashlib.sha256()
    for table in tables:
        with pa.ipc.new_stream(pa.PythonFile(_Hashing(sink), mode="w"), table.schema) as stream:
            stream.write_table(table.combine_chunks(), max_chunksize=1 << 16)
    return sink.hexdigest()[:32]


class _Hashing(io.RawIOBase):
    """A file that keeps nothing but the hash of what is written to it."""

    def __init__(self, sink: "hashlib._Hash") -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes") -> int:  # type: ignore[override]
        self._sink.update(data)
        return len(data)


@dataclass(frozen=True)
class RowGroup:
    """Consecutive rows of a file that are read together, and the first and last of their uids if known."""

    number: int | None  # None: the whole file
    rows: int
    uid_min: str
    uid_max: str
    footer: pq.FileMetaData | None = None  # of the file, so that it is read once


def row_groups(storage: Storage, path: str) -> list[RowGroup]:
    """Return the row groups of a file."""
    with storage.arrow.open_input_file(path) as source:
        footer = pq.read_metadata(source)
    uid = footer.schema.names.index("uid") if "uid" in footer.schema.names else None
    return [_row_group(footer, number, uid) for number in range(footer.num_row_groups)]


def _row_group(footer: pq.FileMetaData, number: int, uid: int | None) -> RowGroup:
    found = footer.row_group(number)
    known = None if uid is None else found.column(uid).statistics
    low, high = (known.min, known.max) if known and known.has_min_max else ("", "")
    return RowGroup(number, found.num_rows, low, high, footer)


def read_columns(storage: Storage, path: str, schema: pa.Schema, group: RowGroup | None = None) -> pa.Table:
    """Read the columns of a schema from one file, or a row group of it. Columns that an older file lacks are null."""
    footer, number = (group.footer, group.number) if group else (None, None)
    with storage.arrow.open_input_file(path) as source:
        parquet = pq.ParquetFile(source, metadata=footer, page_checksum_verification=True)
        names = [name for name in schema.names if name in parquet.schema_arrow.names]
        stored = parquet.read(names) if number is None else parquet.read_row_group(number, names)
    return fill_columns(stored, schema)
