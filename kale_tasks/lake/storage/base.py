"""Files of the lake: what a folder and an S3 prefix both offer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
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
    """A tree of files under one root; every path given is relative to it."""

    root: str

    @abstractmethod
    def put(self, path: str, data: bytes | Path) -> None:
        """Put a whole file; it appears complete or not at all."""

    @abstractmethod
    def put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        """Put a file only if it still has this tag (None: does not exist); False when somebody was faster."""

    @abstractmethod
    def tag(self, path: str) -> str | None:
        """A tag that changes with the file's content; None if there is no such file."""

    @abstractmethod
    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file; FileNotFoundError if there is none."""

    @abstractmethod
    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every file below a folder."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""

    @abstractmethod
    def copy(self, source: str, path: str) -> None:
        """Copy a file inside the store; its bytes do not pass through this process."""

    @property
    @abstractmethod
    def arrow(self) -> pafs.FileSystem:
        """The same tree for Arrow, rooted alike."""

    def exists(self, path: str) -> bool:
        """Whether the file exists."""
        return self.tag(path) is not None

    def uri(self, path: str) -> str:
        """The full address of a path, as tables and other engines name it."""
        return f"{self.root}/{path}"

    def relative(self, uri: str) -> str:
        """The path of an address below this root."""
        if not uri.startswith(f"{self.root}/"):
            raise ValueError(f"{uri} is not below {self.root}")
        return uri[len(self.root) + 1 :]
