"""Writes rows to a local file for `kale show --out` and `kale export`, in the format that its name ends with."""

import csv
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.errors import BadConfig

_LANCE = ".lance"  # a folder, which gets a new version in one step


def export(batches: Iterable[pa.RecordBatch], schema: pa.Schema, out: Path) -> int:
    """Write all batches to `out` and return the number of rows. The file appears complete or not at all.

    Raises BadConfig if `out` does not end with .parquet, .csv, .jsonl or .lance.
    """
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise BadConfig(f"{out} must end with {', '.join(_WRITERS)}: the ending names the format.")
    written = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal written
        for batch in batches:
            written += batch.num_rows
            yield batch.select(schema.names).cast(schema)

    with nullcontext(out) if out.suffix == _LANCE else complete_file(out) as unfinished:
        write(counted(), schema, unfinished)
    return written


def export_lessons(lessons: Iterable[Mapping[str, Any]], out: Path) -> int:
    """Write rows of any form to `out`, as lines of JSON or as one list, and return their number.

    Raises BadConfig if `out` does not end with .jsonl or .json.
    """
    if out.suffix not in (".jsonl", ".json"):
        raise BadConfig(f"{out} must end with .jsonl (a row on each line) or .json (a list).")
    begin, between, end = ("[\n", ",\n", "\n]\n") if out.suffix == ".json" else ("", "\n", "\n")
    written = 0
    with complete_file(out) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(begin)
        for row in lessons:
            file.write((between if written else "") + json.dumps(row, ensure_ascii=False))
            written += 1
        file.write(end if written or begin else "")
    return written


@contextmanager
def complete_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; the file is moved to `target` at the end, so that readers never see half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.unfinished")  # another may write it, too
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_parquet(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_csv(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, schema.names)
        writer.writeheader()
        for batch in batches:
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in batch.to_pylist())


def _cell(value: Any) -> Any:
    # A cell of a CSV file has no lists: they become JSON.
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _write_jsonl(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in batches:
            for row in batch.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _write_lance(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    import lance

    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), str(path), mode="overwrite")


_WRITERS: Mapping[str, Callable[[Iterator[pa.RecordBatch], pa.Schema, Path], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    _LANCE: _write_lance,
}
