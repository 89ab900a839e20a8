"""Reads table files for a takedown, and rewrites tar shards without some images."""

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.errors import BadData
from kale_tasks.lake.damage import advice, recorded_hash
from kale_tasks.lake.io_errors import explain
from kale_tasks.lake.shards import TarWriter, content_name
from kale_tasks.lake.tables import Lake

_BLOCK = 1 << 26


@contextmanager
def named_if_unreadable(path: str, key: str = "") -> Iterator[None]:
    """Context manager for reads: raise BadData with the path of a file that is missing or damaged, and the remedy."""
    try:
        yield
    except (pa.ArrowException, tarfile.TarError, OSError) as error:
        known = explain(error) if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) else None
        where = f" of key {key}" if key else ""
        unused = "" if key else " Delete it if no table uses it."
        raise known or BadData(
            f"{path}{where} cannot be read: {' '.join(str(error).split()).rstrip('.')}. {advice(path)}{unused} Then "
            f"repeat the takedown: it continues where it stopped."
        ) from error


def read_columns(lake: Lake, path: str, key: str, columns: list[str] | None = None) -> pa.Table:
    """Read columns of a Parquet file (default: all); BadData if it is missing or damaged."""
    with named_if_unreadable(path, key), lake.storage.arrow.open_input_file(path) as file:
        return pq.ParquetFile(file, page_checksum_verification=True).read(columns)


def read_groups(lake: Lake, path: str, key: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Read columns of a Parquet file (default: all), one row group at a time; BadData as in `read_columns`."""
    with named_if_unreadable(path, key), lake.storage.arrow.open_input_file(path) as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        for number in range(parquet.num_row_groups):
            yield parquet.read_row_group(number, columns)


@dataclass(frozen=True)
class RewrittenShard:
    """A rewritten tar shard: its path, and the new offset of each remaining image by its old offset."""

    path: str
    offsets: Mapping[int, int]

    def place(self, shard: str, offset: int) -> tuple[str, int]:
        """Return where the image at an offset of the old shard is now; BadData if the old shard had none there."""
        with named_if_unreadable(shard):
            if offset not in self.offsets:
                raise tarfile.ReadError(f"it has no image at {offset}, where a row of `images` says it has one")
        return self.path, self.offsets[offset]


def rewrite_shard(lake: Lake, shard: str, removed: set[int], folder: str) -> RewrittenShard:
    """Write a shard into `folder` without the images at the offsets `removed` and files of the same stem."""
    with tempfile.TemporaryDirectory() as place:
        old, new = _download(lake, shard, Path(place, "old.tar")), Path(place, "new.tar")
        with named_if_unreadable(shard), tarfile.open(old) as source:
            members = source.getmembers()
        stems = {PurePosixPath(m.name).stem for m in members if m.offset_data in removed}
        offsets: dict[int, int] = {}
        with old.open("rb") as data, TarWriter(new) as target:
            for member in members:
                if PurePosixPath(member.name).stem not in stems:
                    data.seek(member.offset_data)
                    offsets[member.offset_data] = target.add(member.name, data.read(member.size))
        path = f"{folder}/{content_name(PurePosixPath(shard).stem, new)}"
        lake.storage.put(path, new)
    return RewrittenShard(path, offsets)


def _download(lake: Lake, path: str, to: Path) -> Path:
    found = hashlib.sha256()
    with named_if_unreadable(path), to.open("wb") as file:
        while block := lake.storage.read(path, file.tell(), _BLOCK):
            file.write(block)
            found.update(block)
            if len(block) < _BLOCK:
                break
        # A reader of tars takes a damaged header for the end, and would leave out all images after it.
        if not found.hexdigest().startswith(recorded_hash(path)):
            raise tarfile.ReadError("it has other bytes than were written")
    return to
