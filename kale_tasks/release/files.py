"""Writes the files of a release: sorted, bounded in size, named by their content, the same bytes each time."""

import hashlib
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.lake.shards import TarWriter
from kale_tasks.release.cuts import Cut, rows
from kale_tasks.release.formats import COLUMNS, FORMATS, Format
from kale_tasks.release.pictures import Pictures
from kale_tasks.release.stats import FACTS, Counts, add, count
from kale_tasks.runner.run import Run

FOLDER = "release_files"


@dataclass(frozen=True)
class File:
    """A finished file: where it stands in the warehouse, what the release calls it, and what is in it."""

    path: str
    name: str
    format: str
    rows: int
    bytes: int
    sha256: str
    stats: Counts = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "File":
        """The file that a row of `releases` tells of."""
        known = {name: row[name] for name in ("path", "name", "format", "rows", "bytes", "sha256")}
        return cls(**known, stats=json.loads(row["stats"]))


def write_cut(run: Run, cut: Cut) -> Iterator[File]:
    """Write every file of a cut, reading its captions once."""
    captions, pictures = rows(run, cut), Pictures(run.lake, cut.source)
    columns = list(dict.fromkeys([*COLUMNS, *FACTS]))
    with tempfile.TemporaryDirectory() as folder:
        rolls = [Roll(run, cut, FORMATS[name], Path(folder)) for name in ("captions", *run.settings.publish.formats)]
        step = max(roll.form.rows_at_once for roll in rolls)
        spans = [(start, min(start + step, cut.stop)) for start in range(cut.start, cut.stop, step)]
        for table in _ahead(lambda span: captions.read(*span, columns), spans):
            for roll in rolls:
                yield from roll.add(table, pictures)
        for roll in rolls:
            yield from roll.close()


def _ahead(read: Callable[[tuple[int, int]], pa.Table], spans: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
    """Reads each span while the one before it is worked on."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(read, span) for span in spans[:1])
        for span in spans[1:]:
            coming.append(pool.submit(read, span))
            yield coming.popleft().result()
        for last in coming:
            yield last.result()


class Roll:
    """One form of a cut: closes a file when it is full and begins the next."""

    def __init__(self, run: Run, cut: Cut, form: Format, folder: Path) -> None:
        self.form = form
        self._run, self._cut, self._local = run, cut, folder / f"{form.name}{form.suffix}"
        self._limit, self._made = run.settings.publish.shard_bytes, 0
        self._writer: _Writer | None = None
        self._rows, self._bytes = 0, 0
        self._stats: Counts = {}

    def add(self, table: pa.Table, pictures: Pictures) -> Iterator[File]:
        """Add rows; yields a file whenever one is full."""
        for start in range(0, table.num_rows, self.form.rows_at_once):
            captions = table.slice(start, self.form.rows_at_once)
            converted = self.form.convert(captions.select(COLUMNS), pictures).cast(self.form.schema)
            self._writer = self._writer or _WRITERS[self.form.suffix](self._local, self.form.schema)
            self._writer.write(converted)
            self._rows += converted.num_rows
            self._bytes += converted.nbytes
            if self.form.name == "captions":
                self._stats = add([self._stats, count(captions)])
            if self._bytes >= self._limit:
                yield from self.close()

    def close(self) -> Iterator[File]:
        """Put the file that is open, if any."""
        if self._writer is None:
            return
        self._writer.close()
        with self._local.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        cut = self._cut
        name = f"{cut.source}-{cut.start:010d}-{self._made:03d}-{sha256[:16]}{self.form.suffix}"
        path = f"{FOLDER}/{cut.source}/{cut.digest}/{self.form.folder}-{name}"
        self._run.lake.storage.put(path, self._local)
        released = f"{self.form.folder}/stage{cut.stage}/{name}"
        yield File(path, released, self.form.name, self._rows, self._local.stat().st_size, sha256, self._stats)
        self._made += 1
        self._writer, self._rows, self._bytes, self._stats = None, 0, 0, {}


class _Writer(Protocol):
    def __init__(self, path: Path, schema: pa.Schema) -> None: ...

    def write(self, rows: pa.Table) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True, store_schema=False)

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks())

    def close(self) -> None:
        self._writer.close()


class _Tar:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._tar = TarWriter(path)

    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            image = row.pop("image")
            if image is not None:
                self._tar.add(image["path"], image["bytes"])
            self._tar.add(f"{row['uid']}.txt", (row["caption"] or "").encode())
            self._tar.add(f"{row['uid']}.json", json.dumps(row, ensure_ascii=False, sort_keys=True).encode())

    def close(self) -> None:
        self._tar.close()


_WRITERS: Mapping[str, type[_Writer]] = {".parquet": _Parquet, ".tar": _Tar}
