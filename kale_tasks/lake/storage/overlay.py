"""Two storages as one: reads fall through from the upper to the lower, writes never do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from kale_tasks.lake.storage.arrow_files import ReadOnly
from kale_tasks.lake.storage.base import Entry, Storage


class OverlayStorage(Storage):
    """Reads a file from the upper storage if it is there, else from the lower. Writes and deletes above only."""

    def __init__(self, upper: Storage, lower: Storage, hidden: str) -> None:
        """Lay one storage over another; the folder `hidden` of the lower one is left out of listings."""
        self.root, self._upper, self._lower, self._hidden = upper.root, upper, lower, hidden

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        self._upper.put(path, data)

    def _put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        if self._upper.tag(path) is not None:
            return self._upper.put_if(path, data, tag)
        return self._lower.tag(path) == tag and self._upper.put_if(path, data, None)

    def tag(self, path: str) -> str | None:
        return self._upper.tag(path) or self._lower.tag(path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        try:
            return self._upper.read(path, offset, length)
        except (FileNotFoundError, NotADirectoryError):
            return self._lower.read(path, offset, length)

    def entries(self, prefix: str) -> Iterator[Entry]:
        above = set()
        for entry in self._upper.entries(prefix):
            above.add(entry.path)
            yield entry
        for entry in self._lower.entries(prefix):
            if entry.path not in above and not entry.path.startswith(f"{self._hidden}/"):
                yield entry

    def delete(self, path: str) -> None:
        self._upper.delete(path)

    def copy(self, source: str, path: str) -> None:
        if self._upper.exists(source):
            self._upper.copy(source, path)
        else:
            self._upper.put(path, self._lower.read(source))

    @property
    def arrow(self) -> pafs.FileSystem:
        return pafs.PyFileSystem(_Overlay(self))

    def uri(self, path: str) -> str:
        return self.holder(path).uri(path)

    def relative(self, uri: str) -> str:
        holder = self._upper if uri.startswith(f"{self._upper.root}/") else self._lower
        return holder.relative(uri)

    def holder(self, path: str) -> Storage:
        """Return the storage that a file is read from; the upper one if there is no such file."""
        below = not self._upper.exists(path) and self._lower.exists(path)
        return self._lower if below else self._upper


class _Overlay(ReadOnly):
    """The readable half of an Arrow file system over both storages."""

    writer = "OverlayStorage.put"

    def __init__(self, storage: OverlayStorage) -> None:
        self._storage = storage

    def get_type_name(self) -> str:
        return "overlay"

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._storage.holder(path).arrow.get_file_info(path) for path in paths]

    def open_input_stream(self, path: str) -> Any:
        return self._storage.holder(path).arrow.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        return self._storage.holder(path).arrow.open_input_file(path)
