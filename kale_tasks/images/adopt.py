"""Adopts images that are in tars and folders of the landing: they are indexed in place, nothing is copied."""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.lake.archives import is_tar
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.landing import is_picture, landing_storage, place_url, stem_and_ending
from kale_tasks.lake.pictures import is_picture_table, named_pictures
from kale_tasks.lake.shards import LANDING, Span
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake

_BROKEN = "broken"
_INDEX = pa.schema({
    "uid": pa.string(), "url": pa.string(),  # the uid if the JSON has one that ingest accepts; else the URL, hashed
    "path": pa.string(), "offset": pa.int64(), "length": pa.int64(), "sha256": pa.string(),
})  # fmt: skip
_UID = re.compile(r"[0-9a-f]{32}")
_PICTURES = 1000  # of folders in one index
_BUFFER = 1 << 20
_MAX_JSON = 1 << 20


_Row = tuple[str, str, str, int, int, str]  # in the order of _INDEX


class AdoptedImage(NamedTuple):
    """Where an adopted image is, and the hash of its raw bytes if its tar records one."""

    span: Span
    sha256: str | None


class Picture(NamedTuple):
    """An image of an archive: its name without ending, its JSON metadata, and where its bytes are."""

    stem: str
    metadata: Mapping[str, Any]
    path: str
    offset: int
    length: int


class ArchiveIndex:
    """Index of a key's archives by uid. Each file is read once and leaves its part of the index in the run's folder."""

    def __init__(self, lake: Lake, folder: str, entries: Sequence[Entry]) -> None:
        self._lake, self._folder = lake, folder
        self._urls = lake.settings.ingest.columns["url"]
        self._tars = [entry for entry in entries if is_tar(entry)]
        pictures = [entry for entry in entries if is_picture(entry.path)]
        self._pictures = [pictures[start : start + _PICTURES] for start in range(0, len(pictures), _PICTURES)]
        paths = ((stem_and_ending(entry.path), entry.path) for entry in entries)
        self._json = {stem: path for (stem, ending), path in paths if ending == "json"}
        self._tables = [entry.path for entry in entries if is_picture_table(entry.path)]

    @property
    def empty(self) -> bool:
        """Whether the key has no archives."""
        return not self._parts

    def build(self, first: int) -> None:
        """Index what has no index yet, beginning with number `first`: concurrent tasks share the work."""
        for i in range(len(self._parts)):
            number = (first + i) % len(self._parts)
            if not self._lake.storage.exists(self._parts[number]):
                self._lake.storage.put(self._parts[number], self._index(number))

    def find(self, urls: Mapping[str, str | None]) -> dict[str, AdoptedImage]:
        """Return the images of pairs, by uid, given their URLs by uid; of several, the one in the first archive.

        An image without a recorded uid, or with one that ingest does not accept, is searched by URL.
        """
        first, last = min(urls), max(urls)
        by_url = {_hashed(url): uid for uid, url in urls.items() if url}
        wanted = (pc.field("uid") >= first) & (pc.field("uid") <= last)
        found: dict[str, AdoptedImage] = {}
        for part in self._parts:
            with self._lake.storage.arrow.open_input_file(part) as file:
                rows = pq.read_table(file, filters=wanted | pc.field("url").isin(pa.array(by_url, pa.string())))
            for row in rows.to_pylist():
                span = Span(LANDING + row["path"], row["offset"], row["length"])
                uid = row["uid"] or by_url[row["url"]]
                if uid in urls:
                    found.setdefault(uid, AdoptedImage(span, row["sha256"] or None))
        return found

    def broken(self) -> dict[str, str]:
        """Return why tars could not be read to their end, by file name without its suffix."""
        found = {}
        for part, entry in zip(self._parts, self._tars, strict=False):
            with self._lake.storage.arrow.open_input_file(part) as file:
                error = (pq.read_metadata(file).metadata or {}).get(_BROKEN.encode())
            if error:
                found[PurePosixPath(entry.path).stem] = f"{PurePosixPath(entry.path).name}: {error.decode()}"
        return found

    @cached_property
    def _parts(self) -> list[str]:
        """The files of the index: one for each tar, then those of pictures."""
        numbers = [f"tar-{number:05d}" for number in range(len(self._tars))]
        numbers += [f"pictures-{number:05d}" for number in range(len(self._pictures))]
        return [f"{self._folder}/{name}.parquet" for name in numbers]

    def _index(self, number: int) -> bytes:
        if number < len(self._tars):
            rows, broken = self._of_tar(self._tars[number])
        else:
            with ThreadPoolExecutor(8) as pool:
                pictures = pool.map(self._of_picture, self._pictures[number - len(self._tars)])
                rows, broken = [row for one in pictures for row in one], ""
        table = pa.Table.from_pylist([dict(zip(_INDEX.names, row, strict=True)) for row in sorted(rows)], schema=_INDEX)
        out = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({_BROKEN: broken} if broken else {}), out, compression="zstd")
        return out.getvalue()

    def _of_tar(self, entry: Entry) -> tuple[list[_Row], str]:
        rows: list[_Row] = []
        with landing_storage(self._lake.settings).arrow.open_input_file(entry.path) as source:
            try:
                for picture in read_tar(io.BufferedReader(source, _BUFFER), entry.path):
                    if picture.offset + picture.length <= entry.size:
                        rows.append(self._row(picture))
            except (tarfile.TarError, OSError, EOFError, ValueError) as error:
                return rows, f"{type(error).__name__}: {error}"[:120]
        return rows, ""

    def _of_picture(self, entry: Entry) -> list[_Row]:
        """Return a row for the picture, or one for each row of a table that names it: ingest may keep any of them."""
        stem = stem_and_ending(entry.path)[0]
        known = list(self._named.get(entry.path, ()))
        if beside := self._json.get(stem):
            known.insert(0, _metadata(landing_storage(self._lake.settings).read(beside, 0, _MAX_JSON)))
        return [self._row(Picture(stem, one, entry.path, 0, entry.size)) for one in known or [{}]]

    @cached_property
    def _named(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What tables say of pictures, by path."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        landing, wanted = landing_storage(self._lake.settings), {"uid", "sha256", *self._urls}
        for path, record in (one for table in self._tables for one in named_pictures(landing, table)):
            found.setdefault(path, []).append({name: record[name] for name in wanted & record.keys()})
        return found

    def _row(self, picture: Picture) -> _Row:
        uid, url = _identity(picture, self._urls)
        return uid, url, picture.path, picture.offset, picture.length, _sha256(picture.metadata) or ""


def read_tar(file: BinaryIO, path: str) -> Iterator[Picture]:
    """Yield the images of a tar, and raise TarError or OSError where it is broken or cut off.

    The files of a sample, such as `1.jpg`, `1.json` and `1.txt`, follow each other; the JSON may be missing.
    """
    stem, place, metadata = "", None, None
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name, ending = stem_and_ending(member.name)
            if name != stem:
                if place:
                    yield Picture(f"{path}/{stem}", {}, path, *place)
                stem, place, metadata = name, None, None
            if is_picture(member.name) and member.isreg():
                place = (member.offset_data, member.size)
            elif ending == "json" and member.size <= _MAX_JSON and (content := tar.extractfile(member)):
                metadata = _metadata(content.read())
            if place and metadata is not None:
                yield Picture(f"{path}/{stem}", metadata, path, *place)
                place = metadata = None
        if place:
            yield Picture(f"{path}/{stem}", {}, path, *place)
        file.seek(tar.offset)
        if not file.read(1):
            raise tarfile.ReadError("it ends too early")  # a complete tar ends with empty blocks


def _metadata(text: bytes) -> dict[str, Any]:
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _identity(picture: Picture, names: Sequence[str]) -> tuple[str, str]:
    """Return the uid that ingest gives to a row, or the hashed URL if that depends on more than the recorded uid."""
    uid = picture.metadata.get("uid")
    if isinstance(uid, str) and _UID.fullmatch(uid.lower()):
        return uid.lower(), ""
    values = (picture.metadata.get(name) for name in names)
    return "", _hashed(next((value for value in values if isinstance(value, str)), place_url(picture.stem)))


def _hashed(url: str) -> str:
    return short_sha256(url.strip(), 32)


def _sha256(metadata: Mapping[str, Any]) -> str | None:
    value = metadata.get("sha256")
    return value.lower() if isinstance(value, str) and len(value) == 64 else None
