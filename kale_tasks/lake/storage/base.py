"""Files of the lake: what a folder and an S3 prefix both offer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.fs as pafs


@dataclass(frozen=True)
class Entry:
    """An existing file: its path below the root, its size in bytes, and when it was written."""

    path: str
    size: int
    modified: datetime


class Storage(ABC):
    """A tree of files below one root, to which every path is relative."""

    root: str

    @abstractmethod
    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        """Write a whole file; it appears complete or not at all, also if an iterator of its blocks raises an error."""

    def put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        """Write a file only if it still has this tag (None: does not exist). Returns whether it has this content now.

        A client that loses the answer sends the request again, and that is refused because of its own first try. A
        refused request whose content is stored therefore counts as success.
        """
        return self._put_if(path, data, tag) or self._has(path, data)

    @abstractmethod
    def _put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        """Write a file only if it still has this tag; False if the store refuses."""

    def _has(self, path: str, data: bytes) -> bool:
        try:
            return self.read(path) == data
        except FileNotFoundError:
            return False

    @abstractmethod
    def tag(self, path: str) -> str | None:
        """Return a tag that changes with each write of a file; None if it does not exist."""

    @abstractmethod
    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read `length` bytes of a file from `offset`, or all. Raises FileNotFoundError if it does not exist."""

    def read_into(self, memory: memoryview, path: str, offset: int = 0) -> int:
        """Read a file from `offset` until memory is full; return the bytes read. FileNotFoundError as in `read`."""
        data = self.read(path, offset, len(memory))
        memory[: len(data)] = data
        return len(data)

    @abstractmethod
    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield every file below a folder."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""

    @abstractmethod
    def copy(self, source: str, path: str) -> None:
        """Copy a file inside the store; its bytes do not pass through this process."""

    @property
    @abstractmethod
    def arrow(self) -> pafs.FileSystem:
        """The same tree as a file system of Arrow."""

    def exists(self, path: str) -> bool:
        """Whether the file exists."""
        return self.tag(path) is not None

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Run a block while no other process runs one of this name, where the store can tell; nobody waits for long.

        It only saves work that others would undo: what must not happen at once needs `put_if` or the catalog.
        """
        yield

    def uri(self, path: str) -> str:
        """Return the full address of a path, as tables and other engines name it."""
        return f"{self.root}/{path}"

    def relative(self, uri: str) -> str:
        """Return the path of an address below this root; ValueError if it is elsewhere."""
        if not uri.startswith(f"{self.root}/"):
            raise ValueError(f"{uri} is not below {self.root}")
        return uri[len(self.root) + 1 :]
