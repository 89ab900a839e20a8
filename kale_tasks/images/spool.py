"""Local file that keeps the images of an unfinished part, so that a crash loses only what was in flight."""

import fcntl
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

_RECORD = struct.Struct("<III")  # checksum, length of the JSON, length of the image


class Spool:
    """An append-only file with the rows and the image bytes of one part; `rows` are those present, by uid."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = self._opened()
        self._shared = True  # with later attempts, which find it at `path`
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another process works on the same part: use a private file; the commit decides between the two.
            self._file.close()
            self._file = tempfile.TemporaryFile(dir=path.parent.parent)  # noqa: SIM115 - closed by __exit__
            self._shared = False
        self._end = 0
        self.rows: dict[str, Mapping[str, Any]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._recover()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, _: type | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    def add(self, row: Mapping[str, Any], image: bytes) -> None:
        """Keep a row, which must have a `uid`, and its image."""
        text = json.dumps(row).encode()
        checksum = zlib.crc32(image, zlib.crc32(text))
        self._end = self._remember(row, self._end, len(text), len(image))
        self._file.write(b"".join((_RECORD.pack(checksum, len(text), len(image)), text, image)))
        self._file.flush()

    def image(self, uid: str) -> bytes:
        """Return the bytes of a kept image."""
        offset, length = self._places[uid]
        return os.pread(self._file.fileno(), length, offset)

    @property
    def shard_path(self) -> Path:
        """A path for the shard of the part that no other process uses; its folder is never deleted."""
        return self.path.parent.parent / f"{self.path.parent.name}-{self.path.name}-{os.getpid()}.tar"

    def remove(self) -> None:
        """Delete the file, once the part is written, unless it belongs to another process."""
        if not self._shared:
            return
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # the folder may hold the spools of other parts
            self.path.parent.rmdir()

    def _opened(self) -> BinaryIO:
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process has just removed the empty folder
                return self.path.open("a+b")

    def _remember(self, row: Mapping[str, Any], start: int, text_length: int, image_length: int) -> int:
        offset = start + _RECORD.size + text_length
        self.rows[row["uid"]] = row
        self._places[row["uid"]] = (offset, image_length)
        return offset + image_length

    def _recover(self) -> None:
        # Drop a record that a crash cut off, and everything after it.
        self._file.seek(0)
        while len(head := self._file.read(_RECORD.size)) == _RECORD.size:
            checksum, text_length, length = _RECORD.unpack(head)
            text, image = self._file.read(text_length), self._file.read(length)
            if len(image) != length or zlib.crc32(image, zlib.crc32(text)) != checksum:
                break
            self._end = self._remember(json.loads(text), self._end, text_length, length)
        self._file.truncate(self._end)
        self._file.seek(self._end)
