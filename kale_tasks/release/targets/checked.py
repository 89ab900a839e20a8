"""Files of the warehouse as they are read to be published: hashed on the way, and refused if they are damaged."""

import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage

_BLOCK = 1 << 22  # bytes that are read and hashed at once
PIECE = 1 << 18  # bytes of a file that are handed on at once


class Published(Protocol):
    """A file to publish: its path in the warehouse, and its name in the target."""

    @property
    def path(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...


class _Block(threading.local):
    """The block that a thread has read last. To get new memory for each would take longer than to hash it."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(_BLOCK))
        self.bytes = self.memory[:0]
        self.of: tuple[CheckedFile, int] | None = None  # the file, and the number of the block in it


_block = _Block()


class CheckedFile(io.BufferedIOBase):
    """A file of the warehouse that is hashed as it is read, in order; its end is read only if all of it is right.

    It may be read again from any place that was reached, as a request does that is sent again.
    """

    def __init__(self, storage: Storage, file: Published) -> None:
        self._storage, self._file = storage, file
        self._place = 0
        self._before = [hashlib.sha256()]  # of all bytes before each block

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.bytes}[whence]
        self._place = start + offset
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        """Read that many bytes, or all; BadData instead of the last ones if the file is not what was recorded."""
        rest = self._file.bytes - self._place
        stop = self._place + (rest if size is None or size < 0 else min(size, rest))
        pieces = []
        while self._place < stop:
            number, start = divmod(self._place, _BLOCK)
            pieces.append(bytes(self._load(number)[start : start + stop - self._place]))
            self._place += len(pieces[-1])
        return b"".join(pieces)

    def sample(self, size: int) -> bytes:
        """Return the first bytes, unchecked."""
        with self._named_if_missing():
            return self._storage.read(self._file.path, 0, min(size, self._file.bytes))

    def _load(self, number: int) -> memoryview:
        """Return a block, in memory that the next block takes."""
        if _block.of != (self, number):
            if number >= len(self._before):
                raise io.UnsupportedOperation(f"{self._file.path} was not read that far.")
            _block.of = None  # a read that fails half-way has changed the memory
            with self._named_if_missing():
                size = self._storage.read_into(_block.memory, self._file.path, number * _BLOCK)
            _block.bytes = _block.memory[:size]
            found = self._before[number].copy()
            found.update(_block.bytes)
            self._require_right(number * _BLOCK + size, (number + 1) * _BLOCK, found.hexdigest())
            self._before[number + 1 :] = [found]
            _block.of = self, number
        return _block.bytes

    @contextmanager
    def _named_if_missing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise damaged(self._file, "is missing") from None

    def _require_right(self, size: int, limit: int, sha256: str) -> None:
        """Raise BadData if the first `size` bytes, with that hash, are not those that were recorded."""
        if size != min(limit, self._file.bytes):
            raise damaged(self._file, f"has {size} bytes instead of {self._file.bytes}")
        if size == self._file.bytes and sha256 != self._file.sha256:
            raise damaged(self._file, "has other bytes than were written")


def checked_blocks(storage: Storage, file: Published) -> Iterator[bytes]:
    """Yield the bytes of a file, hashed on the way; BadData instead of the last ones if it is not what was recorded."""
    source = CheckedFile(storage, file)
    while piece := source.read(PIECE):
        yield piece


@contextmanager
def local_file(storage: Storage, file: Published) -> Iterator[Path]:
    """Context manager: a copy of a file of the warehouse as a local path; BadData if it is not what was recorded."""
    with tempfile.NamedTemporaryFile() as copy:
        for block in checked_blocks(storage, file):
            copy.write(block)
        copy.flush()
        yield Path(copy.name)


def damaged(file: Published, problem: str) -> BadData:
    """Return the error for a file of the warehouse that is not what was recorded."""
    return BadData(
        f"{file.path} {problem}. Run `kale repair`, which makes it again, or restore the file from a backup."
    )
