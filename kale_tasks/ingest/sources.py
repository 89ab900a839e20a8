"""Reads landing files of any format into batches of one schema; what cannot be read becomes a row with a reason."""

import bz2
import csv
import gzip
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
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.storage.base import Storage

_BATCH = 4096
_Record = Mapping[str, Any] | None  # None: the record could not be parsed
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


def read_piece(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a piece in the schema RAW.

    `names` lists for each column of RAW the names it may have in the file, best first. Where a file is broken, the
    rest of it becomes one row with the reason `broken_file`.
    """
    row = piece.first_row
    try:
        for batch in _batches(landing, piece, names):
            numbers = pa.array(range(row, row + batch.num_rows), pa.int64())
            yield batch.set_column(0, "row", numbers)
            row += batch.num_rows
    except _BROKEN as error:
        yield _broken(piece, row, f"{piece.file.name}: {type(error).__name__}: {error}")


def _batches(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    if piece.file.format == "parquet":
        yield from _parquet(landing, piece, names)
        return
    read_records = {"jsonl": _json_lines, "csv": _table(","), "tsv": _table("\t"), "tar": _tar}[piece.file.format]
    with (
        landing.arrow.open_input_stream(piece.file.path, compression=None) as raw,
        _UNPACK[piece.file.compression](raw) as source,
    ):
        records = read_records(source)
        while some := list(islice(records, _BATCH)):
            yield _batch_of(piece, some, names)


def _parquet(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    with landing.arrow.open_input_file(piece.file.path) as file:
        source = pa.BufferReader(_UNPACK[piece.file.compression](file).read()) if piece.file.compression else file
        parquet = pq.ParquetFile(source)
        found = {
            name: next((n for n in wanted if n in parquet.schema_arrow.names), None) for name, wanted in names.items()
        }
        wanted = sorted({n for n in found.values() if n})
        groups = list(range(parquet.num_row_groups)) if piece.groups is None else list(piece.groups)
        for batch in parquet.iter_batches(_BATCH, row_groups=groups, columns=wanted):
            columns = {name: batch.column(n) for name, n in found.items() if n}
            yield _to_raw(columns, batch.num_rows)


def _batch_of(piece: Piece, records: Sequence[_Record], names: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    columns = {
        name: [next((r[n] for n in wanted if r.get(n) is not None), None) if r else None for r in records]
        for name, wanted in names.items()
    }
    reasons = [None if r is not None else "bad_record" for r in records]
    return _to_raw(columns, len(records), reasons)


def _to_raw(columns: Mapping[str, Any], rows: int, reasons: Sequence[str | None] = ()) -> pa.RecordBatch:
    filled = {field.name: column(columns.get(field.name), field.type, rows) for field in RAW}
    return pa.RecordBatch.from_pydict({**filled, "reason": pa.array(reasons or [None] * rows, pa.string())}, RAW)


def _broken(piece: Piece, row: int, detail: str) -> pa.RecordBatch:
    uid = short_sha256(piece.file.name, 32)
    record = {"row": row, "uid": uid, "reason": "broken_file", "detail": " ".join(detail.split())}
    return pa.RecordBatch.from_pylist([record], RAW)


def _json_lines(source: Any) -> Iterator[_Record]:
    for line in io.BufferedReader(source):
        if line.strip():
            yield _json(line)


def _table(delimiter: str) -> Callable[[IO[bytes]], Iterator[_Record]]:
    def records(source: IO[bytes]) -> Iterator[_Record]:
        csv.field_size_limit(1 << 27)
        # Invalid UTF-8 is read as surrogates, so that only the row with it is quarantined.
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
