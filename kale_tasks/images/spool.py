"""Images of a part on their way into its shard, on this machine's disk: a crash costs only what was in flight."""

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
from typing import Any

_RECORD = struct.Struct("<III")  # checksum, length of the JSON, length of the image


class Spool:
    """An append-only file of one part: what is to be said of an image, and its bytes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another process makes the same part: work beside it, the later commit finds out.
            self._file.close()
            self._file = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed by leave
        self.path = path
        self._end = 0
        self.told: dict[str, Mapping[str, Any]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._recover()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, _: type | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    def add(self, told: Mapping[str, Any], image: bytes) -> None:
        """Keep one image under the `uid` in what is told of it."""
        text = json.dumps(told).encode()
        checksum = zlib.crc32(image, zlib.crc32(text))
        self._end = self._remember(told, self._end, len(text), len(image))
        self._file.write(b"".join((_RECORD.pack(checksum, len(text), len(image)), text, image)))
        self._file.flush()

    def image(self, uid: str) -> bytes:
        """The bytes of a kept image."""
        offset, length = self._places[uid]
        return os.pread(self._file.fileno(), length, offset)

    def remove(self) -> None:
        """Forget all of it: the part is written."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # other parts are still in it
            self.path.parent.rmdir()

    def _remember(self, told: Mapping[str, Any], start: int, text: int, image: int) -> int:
        offset = start + _RECORD.size + text
        self.told[told["uid"]] = told
        self._places[told["uid"]] = (offset, image)
        return offset + image

    def _recover(self) -> None:
        # A record that a crash cut, and all after it, is dropped.
        self._file.seek(0)
        while len(head := self._file.read(_RECORD.size)) == _RECORD.size:
            checksum, text_length, length = _RECORD.unpack(head)
            text, image = self._file.read(text_length), self._file.read(length)
            if len(image) != length or zlib.crc32(image, zlib.crc32(text)) != checksum:
                break
            self._end = self._remember(json.loads(text), self._end, text_length, length)
        self._file.truncate(self._end)
        self._file.seek(self._end)
