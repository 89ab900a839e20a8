"""Image bytes: read from tar shards of the warehouse or from adopted tars of the landing; written as tars."""

import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from kale_tasks.errors import BadData
from kale_tasks.lake.damage import advice
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Lake

LANDING = "landing:"  # prefix of `shard` for tars below the landing; without it they are below the warehouse
_MAX_GAP = 1 << 16  # bytes between two images that are read and thrown away to save a request
_MAX_READ = 1 << 24  # bytes of one request
_EMPTY_HEADER = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
_BLANKS = 8 * ord(" ")  # the checksum field counts as blanks in its own sum
_LARGEST = 8**11 - 1  # bytes of a file, of which a header holds eleven octal digits


class Span(NamedTuple):
    """Where the bytes of an image are: the `shard`, `offset` and `length` columns of its row in `images`."""

    shard: str
    offset: int
    length: int


class TarWriter:
    """Writes a tar of files without times, owners or modes: the same files give the same bytes."""

    def __init__(self, path: Path) -> None:
        self._file, self._end = path.open("wb"), 0

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, content: bytes) -> int:
        """Add a file and return the offset of its content in the tar."""
        offset = self._end + tarfile.BLOCKSIZE
        padding = bytes(-len(content) % tarfile.BLOCKSIZE)
        self._file.write(b"".join((_header(name, len(content)), content, padding)))
        self._end = offset + len(content) + len(padding)
        return offset

    def close(self) -> None:
        """Write the end of the tar and close the file."""
        end = bytes(2 * tarfile.BLOCKSIZE)
        self._file.write(end + bytes(-(self._end + len(end)) % tarfile.RECORDSIZE))
        self._file.close()


def _header(name: str, size: int) -> bytes:
    """Return the header that tarfile writes, in a tenth of its time: a shard has two files for each image."""
    if not name.isascii() or len(name) > tarfile.LENGTH_NAME or size > _LARGEST:
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.USTAR_FORMAT)
    empty = _EMPTY_HEADER
    start = name.encode().ljust(tarfile.LENGTH_NAME, b"\0") + empty[100:124] + b"%011o\0" % size + empty[136:148]
    return start + b"%06o\0 " % (sum(start) + _BLANKS + sum(empty[156:])) + empty[156:]


def content_name(stem: str, tar: Path) -> str:
    """Return the name of a tar that ends with the start of its SHA-256, in place of one that the stem may end with."""
    with tar.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return f"{re.sub('-[0-9a-f]{16}$', '', stem)}-{sha256}.tar"


def read_image(lake: Lake, shard: str, offset: int, length: int) -> bytes:
    """Return the bytes of one image; raises BadData if its shard is missing, too short or another one."""
    return read_images(lake, [Span(shard, offset, length)])[0]


def read_images(lake: Lake, spans: Sequence[Span]) -> list[bytes]:
    """Return the bytes of images in the order given, all held in memory; neighbours in a shard share a request."""
    found: dict[Span, bytes] = {}
    with ThreadPoolExecutor(8) as pool:
        for group, data in pool.map(lambda group: (group, _read_group(lake, group)), _neighbours(spans)):
            start = group[0].offset
            found.update((span, data[span.offset - start : span.offset - start + span.length]) for span in group)
    return [found[span] for span in spans]


def _locate(lake: Lake, shard: str) -> tuple[Storage, str]:
    if shard.startswith(LANDING):
        return landing_storage(lake.settings), shard.removeprefix(LANDING)
    return lake.storage, shard


def _advice(span: Span) -> str:
    if not span.shard.startswith(LANDING):
        return advice(span.shard)
    key = span.shard.removeprefix(LANDING).partition("/")[0]
    return f"Deliver it again as it was, or `kale run images --key {key}` with the files that are there now."


def _neighbours(spans: Sequence[Span]) -> Iterator[list[Span]]:
    group: list[Span] = []
    for span in sorted(set(spans)):
        if group and not _joins(group, span):
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _joins(group: Sequence[Span], span: Span) -> bool:
    first, last = group[0], group[-1]
    return (
        span.shard == first.shard
        and span.offset <= last.offset + last.length + _MAX_GAP
        and span.offset + span.length - first.offset <= _MAX_READ
    )


def _read_group(lake: Lake, group: Sequence[Span]) -> bytes:
    storage, path = _locate(lake, group[0].shard)
    start, stop = group[0].offset, max(span.offset + span.length for span in group)
    before, after = _checked_beside(group[0])
    try:
        data = storage.read(path, start - before, before + stop - start + after)
    except FileNotFoundError as error:
        raise BadData(
            f"{storage.uri(path)} is missing, but rows of `images` refer to it. {_advice(group[0])}"
        ) from error
    if len(data) < before + stop - start:
        raise BadData(f"{storage.uri(path)} is shorter than rows of `images` say. {_advice(group[0])}")
    if before and not all(_has_header(data, span.offset - start, span.length) for span in group):
        raise BadData(f"{storage.uri(path)} holds other files than rows of `images` say. {_advice(group[0])}")
    if len(data) > before + stop - start:
        raise BadData(f"{storage.uri(path)} is longer than rows of `images` say. {_advice(group[0])}")
    return data[before:]


def _checked_beside(span: Span) -> tuple[int, int]:
    """Return how many bytes before and after an image tell whether its landing file is still the adopted one."""
    if not span.shard.startswith(LANDING):
        return 0, 0
    return (tarfile.BLOCKSIZE, 0) if span.shard.lower().endswith(".tar") else (0, 1)


def _has_header(data: bytes, start: int, length: int) -> bool:
    """Whether a header of a file of this length begins at `start`."""
    try:
        member = tarfile.TarInfo.frombuf(data[start : start + tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return member.isreg() and member.size == length
