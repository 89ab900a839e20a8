"""Google Cloud Storage and Azure's Blob Storage, by obstore: places for releases.

A lake needs a catalog whose files are on the same store, which only folders and S3 have here.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from kale_tasks.errors import BadConfig, Transient
from kale_tasks.lake.storage.arrow_files import ReadOnly
from kale_tasks.lake.storage.base import Entry, Storage

SCHEMES = ("gs", "az")


class CloudStorage(Storage):
    """A prefix of a bucket or container; what it may do there, the environment says."""

    def __init__(self, root: str, store: Any = None) -> None:
        """Open `gs://bucket/prefix` or `az://container/prefix`, or another store of obstore that is given."""
        self.root = root
        self._store = _open(root) if store is None else store

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        with self._explained():
            self._store.put(path, data)

    def _put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        etag, _, version = (tag or "").partition(" ")  # Google compares its version, the others compare the ETag
        known = {name: value for name, value in (("e_tag", etag), ("version", version)) if value}
        with self._explained():
            try:
                self._store.put(path, data, mode=known if tag else "create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return False
        return True

    def tag(self, path: str) -> str | None:
        with self._explained():
            try:
                known = self._store.head(path)
            except FileNotFoundError:
                return None
        return f"{known['e_tag'] or ''} {known['version'] or ''}"

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._explained():
            stop = self._store.head(path)["size"]  # a range behind the end would be an error
            if length is not None:
                stop = min(stop, offset + length)
            return bytes(self._store.get_range(path, start=offset, end=stop)) if offset < stop else b""

    def entries(self, prefix: str) -> Iterator[Entry]:
        with self._explained():
            for found in self._store.list(prefix or None):
                for one in found:
                    yield Entry(one["path"], one["size"], one["last_modified"])

    def delete(self, path: str) -> None:
        with self._explained(), suppress(FileNotFoundError):
            self._store.delete(path)

    def copy(self, source: str, path: str) -> None:
        with self._explained():
            self._store.copy(source, path)

    @property
    def arrow(self) -> pafs.FileSystem:
        return pafs.PyFileSystem(_Files(self._store))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise BadConfig(f"{self.root} refuses these credentials. Check them and their rights.") from error
        except BaseError as error:
            said = " ".join(str(error).split())[:200]
            raise Transient(f"{self.root} does not answer: {said}. Try again later.") from error


def _open(root: str) -> Any:
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore

    scheme, _, place = root.partition("://")
    bucket, _, prefix = place.partition("/")
    try:
        return (GCSStore if scheme == "gs" else AzureStore)(bucket, prefix=prefix or None)
    except BaseError as error:
        raise BadConfig(f"{root} cannot be opened: {' '.join(str(error).split())[:200]}") from error


class _Reader(io.RawIOBase):
    """A file of a store as Python's libraries expect one."""

    def __init__(self, store: Any, path: str) -> None:
        from obstore import open_reader

        self._file = open_reader(store, path)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return bytes(self._file.read(None if size < 0 else size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


class _Files(ReadOnly):
    """The readable half of an Arrow file system over a store."""

    writer = "CloudStorage.put"

    def __init__(self, store: Any) -> None:
        self._store = store

    def get_type_name(self) -> str:
        return "cloud"

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> pafs.FileInfo:
        try:
            return pafs.FileInfo(path, pafs.FileType.File, size=self._store.head(path)["size"])
        except FileNotFoundError:
            return pafs.FileInfo(path, pafs.FileType.NotFound)

    def open_input_file(self, path: str) -> Any:
        return pa.PythonFile(_Reader(self._store, path), mode="r")

    open_input_stream = open_input_file
