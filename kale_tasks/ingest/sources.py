"""Reads landing files of any kind into batches of one shape; what cannot be read becomes a row that says so."""

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from kale_tasks.ingest.coerce import RAW, column
from kale_tasks.ingest.pieces import Piece
from kale_tasks.lake.storage.base import Storage

_BATCH = 4096
_Record = Mapping[str, Any] | None  # None: the record cannot be read
_UNPACK: dict[str, Callable[[Any], Any]] = {
    "": lambda file: file,
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True),
}
_BROKEN = (
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
    csv.Error,
    tarfile.TarError,
    lzma.LZMAError,
    zstandard.ZstdError,
)


def read(storage: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    """The rows of a piece under our column names; where the file breaks, one row tells it and the rest is given up."""
    row = piece.first_row
    try:
        for batch in _batches(storage, piece, names):
            numbers = pa.array(range(row, row + batch.num_rows), pa.int64())
            yield batch.set_column(0, "row", numbers)
            row += batch.num_rows
    except _BROKEN as error:
        yield _fault(piece, row, "broken_file", f"{piece.file.name}: {type(error).__name__}: {error}")


def _batches(storage: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    if piece.file.format == "parquet":
        yield from _parquet(storage, piece, names)
        return
    read_records = {"jsonl": _json_lines, "csv": _table(","), "tsv": _table("\t"), "tar": _tar}[piece.file.format]
    with (
        storage.arrow.open_input_stream(piece.file.path, compression=None) as raw,
        _UNPACK[piece.file.compression](raw) as source,
    ):
        records = read_records(source)
        while some := list(islice(records, _BATCH)):
            yield _batch_of(piece, some, names)


def _parquet(storage: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    with storage.arrow.open_input_file(piece.file.path) as file:
        source = pa.BufferReader(_UNPACK[piece.file.compression](file).read()) if piece.file.compression else file
        parquet = pq.ParquetFile(source)
        found = {
            name: next((n for n in wanted if n in parquet.schema_arrow.names), None) for name, wanted in names.items()
        }
        wanted = sorted({n for n in found.values() if n})
        groups = list(range(parquet.num_row_groups)) if piece.groups is None else list(piece.groups)
        for batch in parquet.iter_batches(_BATCH, row_groups=groups, columns=wanted):
            columns = {name: batch.column(n) for name, n in found.items() if n}
            yield _shaped(columns, batch.num_rows)


def _batch_of(piece: Piece, records: Sequence[_Record], names: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    columns = {
        name: [next((r[n] for n in wanted if r.get(n) is not None), None) if r else None for r in records]
        for name, wanted in names.items()
    }
    faults = [None if r is not None else "bad_record" for r in records]
    return _shaped(columns, len(records), faults)


def _shaped(columns: Mapping[str, Any], rows: int, faults: Sequence[str | None] = ()) -> pa.RecordBatch:
    filled = {field.name: column(columns.get(field.name), field.type, rows) for field in RAW}
    return pa.RecordBatch.from_pydict({**filled, "fault": pa.array(faults or [None] * rows, pa.string())}, RAW)


def _fault(piece: Piece, row: int, reason: str, detail: str) -> pa.RecordBatch:
    uid = hashlib.sha256(piece.file.name.encode()).hexdigest()[:32]
    record = {"row": row, "uid": uid, "fault": reason, "detail": " ".join(detail.split())}
    return pa.RecordBatch.from_pylist([record], RAW)


def _json_lines(source: Any) -> Iterator[_Record]:
    for line in io.BufferedReader(source):
        if line.strip():
            yield _json(line)


def _table(delimiter: str) -> Callable[[IO[bytes]], Iterator[_Record]]:
    def records(source: IO[bytes]) -> Iterator[_Record]:
        csv.field_size_limit(1 << 27)
        # Bytes that are no UTF-8 pass as surrogates, so that only their row is at fault.
        text = io.TextIOWrapper(source, encoding="utf-8-sig", errors="surrogateescape", newline="")
        for record in csv.DictReader(text, delimiter=delimiter):
            yield {name: value or None for name, value in record.items() if isinstance(name, str)}

    return records


def _tar(source: IO[bytes]) -> Iterator[_Record]:
    with tarfile.open(fileobj=source, mode="r|") as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".json") and (content := tar.extractfile(member)):
                yield _json(content.read())


def _json(text: bytes) -> _Record:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
