"""A lake as it is at one moment, for commands that look at every key: nothing is loaded, listed or read twice."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import Any, NoReturn

import pyarrow.fs as pafs
from pyiceberg.table import Table

from kale_tasks.errors import Conflict
from kale_tasks.lake.catalog import answered, locations
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.lake.tables import Committed, Lake

_LISTED = ("blocked", "holds", "marks")  # folders in which a command that looks at a key looks for a file of it


class LakeView(Lake):
    """What a lake says of its keys: what is committed, and the files of holds, marks and blocked runs.

    Opened partitions have no files, and nothing can be committed.
    """

    def __init__(self, real: Lake) -> None:
        self.settings, self.identity, self.catalog = real.settings, real.identity, real.catalog
        self.preview, self._namespace = real.preview, real._namespace
        self._real, self._place = real, real._place
        self.storage = _ReadOnce(real.storage)
        self._table = cache(self._load_or_keep)
        self._locations = cache(self._locate)
        self._partitions: dict[str, dict[Partition, Committed]] = {}
        self._lock = RLock()

    def table(self, name: str) -> Table:
        return self._table(name)

    def tables(self) -> list[str]:
        return [name for name in TABLES if name in self._locations()] or self._real.tables()

    def _locate(self) -> dict[str, str]:
        """Where the metadata of each table is; empty if only loading a table tells."""
        if self.preview or isinstance(self._real, LakeView):
            return {}
        return answered(lambda: locations(self.catalog, self._namespace), self.catalog_uri) or {}

    def _load_or_keep(self, name: str) -> Table:
        """The table; not loaded again while its metadata is what an earlier view has loaded."""
        with self._lock:
            location = self._locations().get(name)
        if location is None:
            return self._real.table(name)
        known = self._real.viewed.get(name)
        if known is None or known.metadata_location != location:
            known = self._real.viewed[name] = self._real.table(name)
        return known

    def partitions(self, name: str) -> dict[Partition, Committed]:
        with self._lock:
            if name not in self._partitions:
                real = self.preview or isinstance(self._real, LakeView)
                self._partitions[name] = self._real.partitions(name) if real else super().partitions(name)
            return self._partitions[name]

    def committed(self, name: str, key: str, slice_: Mapping[str, Any] | None = None) -> Committed | None:
        return self.partitions(name).get(Partition.of(name, key, slice_))

    def committed_at(self, *_: Any, **__: Any) -> NoReturn:
        raise Conflict("The lake has changed while it was looked at. Try again.")  # by an interrupted commit's end

    def opened(self, partition: Partition) -> tuple[Committed, tuple[DataFile, ...]] | None:
        committed = self.partitions(partition.table).get(partition)
        return (committed, ()) if committed else None

    def opened_all(self, name: str) -> dict[Partition, tuple[Committed, tuple[DataFile, ...]]]:
        return {partition: (committed, ()) for partition, committed in self.partitions(name).items()}


def _is_listed(path: str) -> bool:
    return path.partition("/")[0] in _LISTED


class _ReadOnce(Storage):
    """Remembers the files that were read, and lists some folders as a whole, once."""

    def __init__(self, real: Storage) -> None:
        self.root, self._real = real.root, real
        self._read: dict[str, bytes] = {}

    @cached_property
    def _below(self) -> dict[str, list[Entry]]:
        """Each folder, what is in it at any depth."""
        below: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in (entry for folder in _LISTED for entry in self._real.entries(folder)):
            for above in PurePosixPath(entry.path).parents:
                below[str(above)].append(entry)
        return below

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if offset or length is not None:
            return self._real.read(path, offset, length)
        if _is_listed(path) and not any(entry.path == path for entry in self.entries(path.rpartition("/")[0])):
            raise FileNotFoundError(path)
        if path not in self._read:
            self._read[path] = self._real.read(path)
        return self._read[path]

    def entries(self, prefix: str) -> Iterator[Entry]:
        return iter(self._below.get(prefix, ())) if _is_listed(prefix) else self._real.entries(prefix)

    def tag(self, path: str) -> str | None:
        return self._real.tag(path)

    @property
    def arrow(self) -> pafs.FileSystem:
        return self._real.arrow

    def uri(self, path: str) -> str:
        return self._real.uri(path)

    def relative(self, uri: str) -> str:
        return self._real.relative(uri)

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> NoReturn:
        raise NotImplementedError("A view of a lake is read only.")

    def _put_if(self, path: str, data: bytes, tag: str | None) -> NoReturn:
        raise NotImplementedError("A view of a lake is read only.")

    def delete(self, path: str) -> NoReturn:
        raise NotImplementedError("A view of a lake is read only.")

    def copy(self, source: str, path: str) -> NoReturn:
        raise NotImplementedError("A view of a lake is read only.")
