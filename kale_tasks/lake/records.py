"""Reads the records of text formats one by one, in bounded memory: JSON, JSON lines, tables, tars, pictures."""

import codecs
import csv
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import IO, Any

from kale_tasks.lake.landing import BESIDE, is_picture, place_url, stem_and_ending
from kale_tasks.lake.storage.base import Storage

LINE_BYTES = 1 << 22  # a longer line, CSV field or object is no record of a pair
_RECORD_LINES = 1000  # a CSV record of more lines has a quote that is not closed
_BLOCK = 1 << 20
_IN_VAIN = 10  # most reads at the end of a stream
_BETWEEN = re.compile(r"[\s,\[\]]*")  # what separates the objects of an array
PLACE = "\0place"  # in a record of a picture: the URL that it has if its source gives none
Record = Mapping[str, Any] | None  # None: the record could not be parsed


def json_lines(source: Any) -> Iterator[Record]:
    """Yield the object of each line. A line that is too long is skipped without being held."""
    lines = _utf8(source)
    while line := lines.readline(LINE_BYTES):
        whole = len(line) < LINE_BYTES or line.endswith(b"\n")
        if line.strip():
            yield _json(line) if whole else None
        while not whole:
            rest = lines.readline(LINE_BYTES)
            whole = len(rest) < LINE_BYTES or rest.endswith(b"\n")


def json_values(source: Any) -> Iterator[Record]:
    """Yield the objects of a JSON file: those of its array, its only one, or one on each line."""
    lines = _utf8(source)
    first = lines.readline(LINE_BYTES)
    if _json(first) is not None:
        yield from json_lines(_Chained(first, lines))
        return
    recode, decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape"), json.JSONDecoder()
    text = ""
    for block in chain([first], iter(lambda: lines.read(_BLOCK), b"")):
        text += recode.decode(block)
        at = _BETWEEN.match(text).end()  # type: ignore[union-attr]  # it matches nothing as well
        while at < len(text):
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):  # perhaps only because the rest has not been read
                break
            yield value if isinstance(value, dict) else None
            at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
        text = text[at:]
        if len(text) > LINE_BYTES:
            break
    if text:
        raise ValueError("what follows is no JSON object; an array of objects, or an object on each line, can be read")


def table(delimiter: str) -> Callable[[IO[bytes]], Iterator[Record]]:
    """Return a reader of CSV with this delimiter."""

    def records(source: IO[bytes]) -> Iterator[Record]:
        csv.field_size_limit(LINE_BYTES)
        # Invalid UTF-8 is read as surrogates, so that only the row with it is quarantined.
        text = io.TextIOWrapper(_utf8(source), encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader, line = csv.DictReader(_bounded_lines(text), delimiter=delimiter), 1
        for record in reader:
            if reader.line_num - line > _RECORD_LINES:
                raise csv.Error(f"a quote in the record after line {line} is not closed")
            line = reader.line_num
            yield {name: value or None for name, value in record.items() if isinstance(name, str)}

    return records


def tar(source: IO[bytes], path: str) -> Iterator[Record]:
    """Yield a record for each sample of a tar, as img2dataset and WebDataset write them: of its `.json` and `.txt`.

    The files of a sample have one name and follow each other. A sample has a picture, a `.json`, or both.
    """
    end, stem, files, has_picture = _LastBytes(source), "", dict[str, bytes | None](), False
    with tarfile.open(fileobj=end, mode="r|") as members:  # type: ignore[call-overload]
        for member in members:
            name, ending = stem_and_ending(member.name)
            if name != stem:
                yield from _sample(f"{path}/{stem}", files, has_picture)
                stem, files, has_picture = name, {}, False
            if member.isfile() and ending in BESIDE and (content := members.extractfile(member)):
                files[ending] = content.read(LINE_BYTES + 1) if member.size <= LINE_BYTES else None
            has_picture |= member.isfile() and is_picture(member.name)
    if end.last.strip(b"\0"):  # tarfile takes a header that is cut for the end
        raise tarfile.ReadError("the file is cut: it does not end with empty blocks")
    yield from _sample(f"{path}/{stem}", files, has_picture)  # now that its files are known to be all there


def beside_pictures(landing: Storage, paths: tuple[str, ...]) -> Iterator[Record]:
    """Yield a record for each picture of a folder, of the `.json` and the `.txt` beside it."""
    known: dict[str, dict[str, str]] = {}
    for path in paths:
        stem, ending = stem_and_ending(path)
        known.setdefault(stem, {})[ending] = path
    for stem, found in known.items():
        yield from _sample(stem, {ending: landing.read(path) for ending, path in found.items()}, has_picture=True)


def _sample(place: str, files: Mapping[str, bytes | None], has_picture: bool) -> Iterator[Record]:
    if not has_picture and "json" not in files:
        return
    record = _json(files["json"] or b"") if "json" in files else {}
    text = {"text": files["txt"]} if files.get("txt") else {}
    at = {PLACE: place_url(place)} if has_picture else {}
    yield None if record is None else {**text, **record, **at}


def _utf8(source: Any) -> io.BufferedReader:
    """Return a stream as UTF-8; UTF-16 is known by its first two bytes."""
    head = source.read(2)
    whole = _Chained(head, source)
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return io.BufferedReader(_Recoded(whole))
    return io.BufferedReader(whole)


class _Chained(io.RawIOBase):
    """First some bytes, then a stream."""

    def __init__(self, head: bytes, source: Any) -> None:
        self._blocks = filter(None, chain([head], iter(lambda: source.read(_BLOCK), b"")))
        self._left = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is."""
        self._left = self._left or next(self._blocks, b"")
        some, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(some)] = some
        return len(some)


class _Recoded(_Chained):
    """A UTF-16 stream as UTF-8."""

    def __init__(self, source: Any) -> None:
        decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        blocks = iter(lambda: source.read(_BLOCK), b"")
        self._blocks = filter(None, (decoder.decode(block).encode("utf-8", "surrogatepass") for block in blocks))
        self._left = b""


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LINE_BYTES):
        if len(line) == LINE_BYTES and line[-1] not in "\r\n":
            raise csv.Error(f"a line is longer than {LINE_BYTES >> 20} MiB")
        yield line


class _LastBytes:
    """Passes a stream on and remembers the last bytes that were read.

    A reader that goes on at its end is stopped: it would skip what a header claims, be it 1 TiB, block by block.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.last, self._in_vain = source, b"", 0

    def read(self, size: int = -1) -> bytes:
        """Read from the stream."""
        if found := self._source.read(size):
            self.last = (self.last + found)[-tarfile.BLOCKSIZE :]
        self._in_vain += not found
        if self._in_vain > _IN_VAIN:
            raise tarfile.ReadError("the file is cut: it ends inside a member")
        return found


def _json(text: bytes) -> Record:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
