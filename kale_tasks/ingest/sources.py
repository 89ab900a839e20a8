"""Reads landing files of any format into batches of one schema; what cannot be read becomes a row with a reason."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from kale_tasks.ingest.coerce import RAW, column
from kale_tasks.ingest.pieces import Piece
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.storage.base import Storage

_BATCH = 4096
_LINE_BYTES = 1 << 22  # a longer line or CSV field is no record of a pair
_RECORD_LINES = 1000  # a CSV record of more lines has a quote that is not closed
_UNPACKED_BYTES = 1 << 30  # most bytes of a compressed Parquet file, which is unpacked in memory
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
            yield _numbered(batch, row)
            row += batch.num_rows
    except _BROKEN as error:
        yield _numbered(_broken(piece, 1, error, short_sha256(piece.file.name, 32).encode()), row)


def _numbered(batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
    return batch.set_column(0, "row", pa.array(range(first, first + batch.num_rows), pa.int64()))


def _batches(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    if piece.file.format == "parquet":
        yield from _parquet(landing, piece, names)
        return
    read_records = {"jsonl": _json_lines, "csv": _table(","), "tsv": _table("\t"), "tar": _tar}[piece.file.format]
    with (
        landing.arrow.open_input_stream(piece.file.path, compression=None) as raw,
        _UNPACK[piece.file.compression](raw) as source,
    ):
        for some in _batched(read_records(source)):
            yield _batch_of(piece, some, names)


def _batched(records: Iterator[_Record]) -> Iterator[list[_Record]]:
    """Group records. Those before an error are yielded before it is raised."""
    some: list[_Record] = []
    try:
        for record in records:
            some.append(record)
            if len(some) == _BATCH:
                yield some
                some = []
    except _BROKEN:
        if some:
            yield some
        raise
    if some:
        yield some


def _parquet(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    with landing.arrow.open_input_file(piece.file.path) as file:
        parquet = pq.ParquetFile(_unpacked(piece, file))
        wanted = sorted({name for known in names.values() for name in known} & set(parquet.schema_arrow.names))
        reason, detail = _missing_columns(piece, parquet.schema_arrow.names, names)
        for group in range(parquet.num_row_groups) if piece.groups is None else piece.groups:
            left = parquet.metadata.row_group(group).num_rows
            try:
                for batch in parquet.iter_batches(_BATCH, row_groups=[group], columns=wanted):
                    yield _to_raw(_first_values(batch, names), batch.num_rows, [reason] * batch.num_rows, detail)
                    left -= batch.num_rows
            except _BROKEN as error:  # the footer says how many rows are lost; other groups may be whole
                yield _broken(piece, left, error)


def _unpacked(piece: Piece, file: Any) -> Any:
    if not piece.file.compression:
        return file
    content = _UNPACK[piece.file.compression](file).read(_UNPACKED_BYTES + 1)
    if len(content) > _UNPACKED_BYTES:
        raise ValueError(f"unpacks to more than {_UNPACKED_BYTES >> 30} GiB; land it without {piece.file.compression}")
    return pa.BufferReader(content)


def _first_values(batch: pa.RecordBatch, names: Mapping[str, Sequence[str]]) -> dict[str, pa.Array]:
    """Return for each column of RAW the first value that is not null under any of its names."""
    found = batch.schema.names  # a name may occur twice: its first column counts
    columns = {}
    for name, known in names.items():
        type_ = RAW.field(name).type
        arrays = [column(batch.column(found.index(n)), type_, batch.num_rows) for n in known if n in found]
        if arrays:
            columns[name] = arrays[0] if len(arrays) == 1 or pa.types.is_list(type_) else pc.coalesce(*arrays)
    return columns


def _missing_columns(
    piece: Piece, found: Sequence[str], names: Mapping[str, Sequence[str]]
) -> tuple[str | None, str | None]:
    """Return reason and detail for rows of a file in which nothing can be a URL, or nothing a text."""
    for name in ("url", "alt_text"):
        if not set(names[name]) & set(found):
            shown = ", ".join(map(str, found))[:80]
            return "no_columns", f"{piece.file.name}: no column {' or '.join(names[name])}; found: {shown}"
    return None, None


def _batch_of(piece: Piece, records: Sequence[_Record], names: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    columns = {
        name: [next((r[n] for n in wanted if r.get(n) is not None), None) if r else None for r in records]
        for name, wanted in names.items()
    }
    reasons = [None if r is not None else "bad_record" for r in records]
    if piece.file.format in ("csv", "tsv"):
        reason, detail = _missing_columns(piece, list(records[0] or ()), names)
        return _to_raw(columns, len(records), [reason] * len(records) if reason else reasons, detail)
    return _to_raw(columns, len(records), reasons)


def _to_raw(
    columns: Mapping[str, Any], rows: int, reasons: Sequence[str | None] = (), detail: str | None = None
) -> pa.RecordBatch:
    filled = {field.name: column(columns.get(field.name), field.type, rows) for field in RAW}
    filled["reason"] = pa.array(reasons or [None] * rows, pa.string())
    return pa.RecordBatch.from_pydict({**filled, "detail": pa.array([detail] * rows, pa.string())}, RAW)


def _broken(piece: Piece, rows: int, error: BaseException, uid: bytes | None = None) -> pa.RecordBatch:
    """Make the rows that stand for what cannot be read."""
    detail = " ".join(f"{piece.file.name}: {type(error).__name__}: {error}".split())
    return pa.RecordBatch.from_pylist([{"uid": uid, "reason": "broken_file", "detail": detail}] * rows, RAW)


def _json_lines(source: Any) -> Iterator[_Record]:
    lines = io.BufferedReader(source)
    while line := lines.readline(_LINE_BYTES):
        whole = len(line) < _LINE_BYTES or line.endswith(b"\n")
        if line.strip():
            yield _json(line) if whole else None
        while not whole:  # skip the rest of a line that is too long, without holding it
            rest = lines.readline(_LINE_BYTES)
            whole = len(rest) < _LINE_BYTES or rest.endswith(b"\n")


def _table(delimiter: str) -> Callable[[IO[bytes]], Iterator[_Record]]:
    def records(source: IO[bytes]) -> Iterator[_Record]:
        csv.field_size_limit(_LINE_BYTES)
        # Invalid UTF-8 is read as surrogates, so that only the row with it is quarantined.
        text = io.TextIOWrapper(source, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader, line = csv.DictReader(_bounded_lines(text), delimiter=delimiter), 1
        for record in reader:
            if reader.line_num - line > _RECORD_LINES:
                raise csv.Error(f"a quote in the record after line {line} is not closed")
            line = reader.line_num
            yield {name: value or None for name, value in record.items() if isinstance(name, str)}

    return records


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_LINE_BYTES):
        if len(line) == _LINE_BYTES and line[-1] not in "\r\n":
            raise csv.Error(f"a line is longer than {_LINE_BYTES >> 20} MiB")
        yield line


def _tar(source: IO[bytes]) -> Iterator[_Record]:
    end = _LastBytes(source)
    with tarfile.open(fileobj=end, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.isfile() and member.name.lower().endswith(".json") and (content := tar.extractfile(member)):
                yield _json(content.read(_LINE_BYTES + 1)) if member.size <= _LINE_BYTES else None
    if end.last.strip(b"\0"):  # tarfile takes a header that is cut for the end
        raise tarfile.ReadError("the file is cut: it does not end with empty blocks")


class _LastBytes:
    """Passes a stream on and remembers the last bytes that were read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.last = source, b""

    def read(self, size: int = -1) -> bytes:
        """Read from the stream."""
        if found := self._source.read(size):
            self.last = (self.last + found)[-tarfile.BLOCKSIZE :]
        return found


def _json(text: bytes) -> _Record:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
