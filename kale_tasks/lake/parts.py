"""Part files: the smallest finished piece of a run, named by its content, with its account in the footer."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from kale_tasks.lake.columns import fill_columns
from kale_tasks.lake.storage.base import Storage

_META = "kale"
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
    with pq.ParquetWriter(
        buffer, rows.schema, compression="zstd", store_schema=False, write_page_checksum=True
    ) as writer:
        writer.write_table(rows.combine_chunks())  # the bytes must not depend on how the table was put together
        writer.add_key_value_metadata({_META: json.dumps(asdict(meta), sort_keys=True)})
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = f"{folder}/part-{meta.number:05d}-{sha256[:16]}.parquet"
    storage.put(path, data)
    return PartFile(path, rows.num_rows, len(data), sha256)


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


def read_columns(storage: Storage, path: str, schema: pa.Schema) -> pa.Table:
    """Read the columns of a schema from one file. Columns that a file of an older version lacks are null."""
    with storage.arrow.open_input_file(path) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        stored = parquet.read([name for name in schema.names if name in parquet.schema_arrow.names])
    return fill_columns(stored, schema)
