"""Writes the files of a release: sorted, bounded in size, named by their content, with reproducible bytes."""

import hashlib
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.release.formats.base import CAPTION_COLUMNS, FileWriter, Format, StoredImages
from kale_tasks.release.registry import formats_of
from kale_tasks.release.shards import IMAGES, PAIRS, ReleaseShard, captions_of
from kale_tasks.release.stats import FACTS, Counts, add, count
from kale_tasks.runner.run import Run

FOLDER = "release_files"


@dataclass(frozen=True)
class ReleaseFile:
    """A finished file: its path in the warehouse, its name in the release, and what it contains."""

    path: str
    name: str
    format: str
    rows: int
    bytes: int
    sha256: str
    stats: Counts = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "ReleaseFile":
        """Return the file that a row of `releases` describes."""
        known = {name: row[name] for name in ("path", "name", "format", "rows", "bytes", "sha256")}
        return cls(**known, stats=json.loads(row["stats"]))


def released_name(shard: ReleaseShard, folder: str, base: str) -> str:
    """Return the name of a file in the release. A folder has the files of one key: the Hub bounds their number."""
    within = f"{shard.recipe}/stage{shard.stage}/" if shard.recipe else ""
    return f"{folder}/{within}{shard.source}/{base}"


def write_shard(run: Run, shard: ReleaseShard) -> Iterator[ReleaseFile]:
    """Write every file of a shard in all formats, reading its rows once."""
    name = IMAGES + shard.source
    images = StoredImages(run.lake, run.rows(name) if name in run.inputs else None)
    formats = [form for form in formats_of(run.settings) if form.of_captions == bool(shard.recipe)]
    with tempfile.TemporaryDirectory() as folder:
        writers = [ShardWriter(run, shard, form, Path(folder)) for form in formats]
        step = max(writer.format.rows_at_once for writer in writers)
        spans = [(start, min(start + step, shard.stop)) for start in range(shard.start, shard.stop, step)]
        for table in _read_ahead(_reader(run, shard), spans):
            for writer in writers:
                yield from writer.add(table, images)
        for writer in writers:
            yield from writer.close()


def _reader(run: Run, shard: ReleaseShard) -> Callable[[tuple[int, int]], pa.Table]:
    if not shard.recipe:
        return lambda span: _held_out(run, shard.source, *span)
    captions, columns = captions_of(run, shard), list(dict.fromkeys([*CAPTION_COLUMNS, *FACTS]))
    return lambda span: captions.read(*span, columns)


def _held_out(run: Run, source: str, start: int, stop: int) -> pa.Table:
    """Return what rows `start` to `stop` of the images of a key have of the holdout, sorted by uid."""
    images = run.rows(IMAGES + source).read(start, stop, ["uid", "key", "sha256", "split", "status"])
    kept = images.filter(pc.and_(pc.equal(images["split"], "holdout"), pc.equal(images["status"], "ok")))
    uids = kept["uid"].to_pylist() or [""]
    pairs = run.rows(PAIRS + source).between(uids[0], uids[-1], ["url", "alt_text"])
    place = pc.index_in(kept["uid"], value_set=pairs["uid"].combine_chunks())
    found = kept.filter(pc.is_valid(place))
    for name in ("url", "alt_text"):
        found = found.append_column(name, pairs[name].take(place.drop_null()))
    return found


def _read_ahead(read: Callable[[tuple[int, int]], pa.Table], spans: Sequence[tuple[int, int]]) -> Iterator[pa.Table]:
    """Read each span while the one before it is processed."""
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(read, span) for span in spans[:1])
        for span in spans[1:]:
            pending.append(pool.submit(read, span))
            yield pending.popleft().result()
        for last in pending:
            yield last.result()


class ShardWriter:
    """Writes one format of a shard: closes a file when it is full and begins the next."""

    def __init__(self, run: Run, shard: ReleaseShard, form: Format, folder: Path) -> None:
        self.format = form
        self._run, self._shard, self._local = run, shard, folder / f"{form.name}{form.suffix}"
        self._limit, self._closed = run.settings.publish.shard_bytes, 0
        self._file: FileWriter | None = None
        self._rows, self._bytes = 0, 0
        self._stats: Counts = {}

    def add(self, table: pa.Table, images: StoredImages) -> Iterator[ReleaseFile]:
        """Add captions; yields each file that they fill."""
        for start in range(0, table.num_rows, self.format.rows_at_once):
            captions = table.slice(start, self.format.rows_at_once)
            given = captions.select(CAPTION_COLUMNS) if self.format.of_captions else captions
            rows = self.format.convert(given, images).cast(self.format.schema)
            if not rows.num_rows:
                continue
            self._file = self._file or self.format.open(self._local)
            self._file.write(rows)
            self._rows += rows.num_rows
            self._bytes += rows.nbytes
            if self.format.name == "captions":
                self._stats = add([self._stats, count(captions)])
            if self._bytes >= self._limit:
                yield from self.close()

    def close(self) -> Iterator[ReleaseFile]:
        """Store the file that is open, if any, and yield it."""
        if self._file is None:
            return
        self._file.close()
        with self._local.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        shard, folder = self._shard, self.format.folder
        name = f"{shard.source}-{shard.start:010d}-{self._closed:03d}-{sha256[:16]}{self.format.suffix}"
        path = f"{FOLDER}/{shard.source}/{shard.digest}/{folder}-{name}"
        self._run.lake.storage.put(path, self._local)
        released = released_name(shard, folder, name)
        size = self._local.stat().st_size
        yield ReleaseFile(path, released, self.format.name, self._rows, size, sha256, self._stats)
        self._closed += 1
        self._file, self._rows, self._bytes, self._stats = None, 0, 0, {}
