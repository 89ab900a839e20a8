"""A lake in a folder: durable atomic puts with rename and fsync."""

import fcntl
import os
import random
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO

import pyarrow.fs as pafs

from kale_tasks.errors import BadData
from kale_tasks.lake.io_errors import explained
from kale_tasks.lake.storage.base import Entry, Storage

_LONGEST_WAIT = 1.0  # seconds for a turn


class FolderStorage(Storage):
    """A folder of this machine or of a shared file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(Path(root).absolute())

    def put(self, path: str, data: bytes | Path | Iterator[bytes]) -> None:
        target = self._target(path)
        with explained(target):
            _mkdirs(target.parent)
            temporary = self._write_beside(target, data)
            os.replace(temporary, target)
            _fsync_folder(target.parent)

    def _put_if(self, path: str, data: bytes, tag: str | None) -> bool:
        target = self._target(path)
        with explained(target):
            _mkdirs(target.parent)
            if tag is None:
                return _created(self._write_beside(target, data), target)
            with _locked(target):
                if self.tag(path) != tag:
                    return False
                os.replace(self._write_beside(target, data), target)
                _fsync_folder(target.parent)
        return True

    def tag(self, path: str) -> str | None:
        try:
            known = os.stat(Path(self.root, path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{known.st_ino}-{known.st_mtime_ns}-{known.st_size}"

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with open(Path(self.root, path), "rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def read_into(self, memory: memoryview, path: str, offset: int = 0) -> int:
        with open(Path(self.root, path), "rb") as file:
            file.seek(offset)
            return file.readinto(memory)

    def entries(self, prefix: str) -> Iterator[Entry]:
        for folder, names in self._folders(Path(self.root, prefix)):
            for name in sorted(names):
                full = Path(folder, name)
                try:
                    found = full.stat()
                except OSError:  # deleted meanwhile, or a link that leads nowhere or to itself
                    continue
                if not stat.S_ISREG(found.st_mode):
                    continue  # a pipe or a device would be read for ever
                yield Entry(
                    str(full.relative_to(self.root)), found.st_size, datetime.fromtimestamp(found.st_mtime, tz=UTC)
                )

    def _folders(self, top: Path) -> Iterator[tuple[str, list[str]]]:
        """Yield each folder below `top`, and itself, with the names of its files."""
        for folder, _, names in os.walk(top):
            yield folder, names

    def delete(self, path: str) -> None:
        # Empty folders stay: removing one could pull it from under somebody who is about to write in it.
        self._target(path).unlink(missing_ok=True)

    def _target(self, path: str) -> Path:
        """The place of a file that is written or deleted. Raises BadData if it is outside of the folder."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise BadData(f"'{path}' leads out of {self.root}: nothing was written.")
        return Path(self.root, path)

    def copy(self, source: str, path: str) -> None:
        target = self._target(path)
        with explained(target):
            _mkdirs(target.parent)
            temporary = target.with_name(f".tmp-{uuid.uuid4().hex}")
            os.link(Path(self.root, source), temporary)
            os.replace(temporary, target)
            temporary.unlink(missing_ok=True)  # a rename onto its own file leaves both names
            _fsync_folder(target.parent)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        target = self._target(f"turns/{name}")
        with explained(target):
            _mkdirs(target.parent)
            file = target.open("a")
        with file:
            _wait_for_lock(file)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a process that was forked meanwhile has the file open, too

    @cached_property
    def arrow(self) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(self.root, pafs.LocalFileSystem())

    def _write_beside(self, target: Path, data: bytes | Path | Iterator[bytes]) -> str:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
        try:
            with os.fdopen(descriptor, "wb") as out:
                _copy(data, out)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(temporary, 0o644)
        except BaseException:
            os.unlink(temporary)
            raise
        return temporary


def _created(temporary: str, target: Path) -> bool:
    # A hard link is made in one step, and fails where a file of that name exists.
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    _fsync_folder(target.parent)
    return True


def _copy(data: bytes | Path | Iterator[bytes], out: BinaryIO) -> None:
    if isinstance(data, bytes):
        out.write(data)
        return
    if not isinstance(data, Path):
        out.writelines(data)
        return
    with data.open("rb") as source:
        while block := source.read(1 << 22):
            out.write(block)


def _mkdirs(folder: Path) -> None:
    # Each new folder entry is made durable too, or a power cut could lose a file that was synced in it.
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _fsync_folder(new.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    # An advisory lock beside the file, which the kernel releases when the process dies.
    with target.with_name(f".{target.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait_for_lock(file: IO[str]) -> None:
    """Lock a file, or give up after some time: whoever holds it may have been stopped."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(random.uniform(0.001, 0.01))
