"""Part files: the smallest finished piece of a step, written whole with its own account in the footer."""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.lake.io_errors import explain
from kale_tasks.lake.storage.base import Storage

_META = "kale"
_NAME = re.compile(r"part-(\d{5,})\.parquet$")


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


def part_path(folder: str, number: int) -> str:
    """Where a part of a run stands."""
    return f"{folder}/part-{number:05d}.parquet"


def write(storage: Storage, folder: str, meta: PartMeta, rows: pa.Table) -> int:
    """Put one part file atomically; answers with its size."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, rows.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({_META: json.dumps(asdict(meta), sort_keys=True)})
    storage.put(part_path(folder, meta.number), buffer.getvalue())
    return buffer.tell()


def read_meta(storage: Storage, path: str) -> PartMeta | None:
    """The account of a part, or None if the file is torn or not ours."""
    try:
        with storage.arrow.open_input_file(path) as file:
            found = pq.read_metadata(file).metadata or {}
        return PartMeta(**json.loads(found[_META.encode()]))
    except OSError as error:
        if known := explain(error):
            raise known from error
        return None
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return None


def standing(storage: Storage, folder: str, fingerprint: str) -> dict[int, PartMeta]:
    """Every finished part of a run, by number; torn and foreign files do not count."""
    numbers = _numbers(entry.path for entry in storage.entries(folder))
    with ThreadPoolExecutor(16) as pool:
        metas = list(pool.map(lambda n: read_meta(storage, part_path(folder, n)), numbers))
    return {
        number: meta
        for number, meta in zip(numbers, metas, strict=True)
        if meta and meta.fingerprint == fingerprint and meta.number == number
    }


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


def _numbers(paths: Iterable[str]) -> list[int]:
    def each() -> Iterator[int]:
        for path in paths:
            if match := _NAME.search(path):
                yield int(match.group(1))

    return sorted(each())
