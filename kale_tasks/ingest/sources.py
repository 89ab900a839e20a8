"""Reads landing files of any format into batches of one schema; what cannot be read becomes a row with a reason."""

import bz2
import csv
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from kale_tasks.ingest.coerce import RAW, column
from kale_tasks.ingest.pieces import DataFile, Piece
from kale_tasks.lake import records
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.pictures import is_picture_table, with_places
from kale_tasks.lake.records import Record
from kale_tasks.lake.storage.base import Storage

_BATCH = 4096
_UNPACKED_BYTES = 1 << 30  # most bytes of a compressed Parquet file, which is unpacked in memory
_UNPACK: dict[str, Callable[[Any], Any]] = {
    "": lambda file: file,
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True),
}
_RECORDS: dict[str, Callable[[Any], Iterator[Record]]] = {
    "json": records.json_values,
    "jsonl": records.json_lines,
    "csv": records.table(","),
    "tsv": records.table("\t"),
}
BROKEN = (
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
    except BROKEN as error:
        yield _numbered(_broken(piece, 1, error, short_sha256(piece.file.name, 32).encode()), row)


def _numbered(batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
    return batch.set_column(0, "row", pa.array(range(first, first + batch.num_rows), pa.int64()))


def _batches(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    if piece.file.format == "parquet":
        yield from _parquet(landing, piece, names)
        return
    if piece.file.format == "arrow":
        yield from _arrow(landing, piece, names)
        return
    for some in _batched(records_of(landing, piece.file)):
        yield _batch_of(piece, some, names)


def records_of(landing: Storage, file: DataFile) -> Iterator[Record]:
    """Yield the records of a file that is no table of columns."""
    if file.format == "pictures":
        yield from records.beside_pictures(landing, file.members)
        return
    with (
        landing.arrow.open_input_stream(file.path, compression=None) as raw,
        _UNPACK[file.compression](raw) as source,
    ):
        found = records.tar(source, file.path) if file.format == "tar" else _RECORDS[file.format](source)
        yield from with_places(found, file.path) if is_picture_table(file.path) else found


def columns_of(landing: Storage, file: DataFile) -> list[str]:
    """Return the names of the columns of a file; of records, those that the first ones have."""
    if file.format == "parquet":
        with landing.arrow.open_input_file(file.path) as source:
            return list(pq.ParquetFile(_unpacked(file, source)).schema_arrow.names)
    if file.format == "arrow":
        with landing.arrow.open_input_file(file.path) as source:
            return list(_arrow_batches(_unpacked(file, source))[0].names)
    first = islice(records_of(landing, file), 100)
    return list(dict.fromkeys(name for record in first for name in record or () if name != records.PLACE))


def _batched(found: Iterator[Record]) -> Iterator[list[Record]]:
    """Group records. Those before an error are yielded before it is raised."""
    some: list[Record] = []
    try:
        for record in found:
            some.append(record)
            if len(some) == _BATCH:
                yield some
                some = []
    except BROKEN:
        if some:
            yield some
        raise
    if some:
        yield some


def _parquet(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    with landing.arrow.open_input_file(piece.file.path) as file:
        parquet = pq.ParquetFile(_unpacked(piece.file, file))
        wanted = sorted({name for known in names.values() for name in known} & set(parquet.schema_arrow.names))
        reason, detail = _missing_columns(piece, parquet.schema_arrow.names, names)
        for group in range(parquet.num_row_groups) if piece.groups is None else piece.groups:
            left = parquet.metadata.row_group(group).num_rows
            try:
                for batch in parquet.iter_batches(_BATCH, row_groups=[group], columns=wanted):
                    yield _to_raw(_first_values(batch, names), batch.num_rows, [reason] * batch.num_rows, detail)
                    left -= batch.num_rows
            except BROKEN as error:  # the footer says how many rows are lost; other groups may be whole
                yield _broken(piece, left, error)


def _arrow(landing: Storage, piece: Piece, names: Mapping[str, Sequence[str]]) -> Iterator[pa.RecordBatch]:
    with landing.arrow.open_input_file(piece.file.path) as file:
        schema, batches = _arrow_batches(_unpacked(piece.file, file))
        reason, detail = _missing_columns(piece, schema.names, names)
        for whole in batches:
            for start in range(0, whole.num_rows, _BATCH):
                batch = whole.slice(start, _BATCH)
                yield _to_raw(_first_values(batch, names), batch.num_rows, [reason] * batch.num_rows, detail)


def _arrow_batches(file: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open an Arrow file, or a stream, as `datasets` saves it."""
    try:
        known = pa.ipc.open_file(file)
        return known.schema, (known.get_batch(n) for n in range(known.num_record_batches))
    except pa.ArrowInvalid:
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        return stream.schema, iter(stream)


def _unpacked(file: DataFile, source: Any) -> Any:
    if not file.compression:
        return source
    content, packed = bytearray(), _UNPACK[file.compression](source)
    while block := packed.read(1 << 22):
        content += block
        if len(content) > _UNPACKED_BYTES:
            raise ValueError(f"unpacks to more than {_UNPACKED_BYTES >> 30} GiB; land it without {file.compression}")
    return pa.BufferReader(pa.py_buffer(content))


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
        if not set(names[name]) & set(found) and not (name == "url" and records.PLACE in found):
            shown = ", ".join(map(str, found))[:80]
            return "no_columns", f"{piece.file.name}: no column {' or '.join(names[name])}; found: {shown}"
    return None, None


def _batch_of(piece: Piece, some: Sequence[Record], names: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    wanted_of = {**names, "url": [*names["url"], records.PLACE]}
    columns = {
        name: [next((r[n] for n in wanted if r.get(n) is not None), None) if r else None for r in some]
        for name, wanted in wanted_of.items()
    }
    reasons = [None if r is not None else "bad_record" for r in some]
    if piece.file.format in ("csv", "tsv"):
        reason, detail = _missing_columns(piece, list(some[0] or ()), names)
        return _to_raw(columns, len(some), [reason] * len(some) if reason else reasons, detail)
    return _to_raw(columns, len(some), reasons)


def _to_raw(
    columns: Mapping[str, Any], rows: int, reasons: Sequence[str | None] = (), detail: str | None = None
) -> pa.RecordBatch:
    filled = {field.name: column(columns.get(field.name), field.type, rows) for field in RAW}
    filled["reason"] = pa.array(reasons or [None] * rows, pa.string())
    return pa.RecordBatch.from_pydict({**filled, "detail": pa.array([detail] * rows, pa.string())}, RAW)


def _broken(piece: Piece, rows: int, error: BaseException, uid: bytes | None = None) -> pa.RecordBatch:
    """Make the rows that tell what cannot be read."""
    detail = " ".join(f"{piece.file.name}: {type(error).__name__}: {error}".split())
    return pa.RecordBatch.from_pylist([{"uid": uid, "reason": "broken_file", "detail": detail}] * rows, RAW)
