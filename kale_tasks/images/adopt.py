"""Adopts images that already exist: img2dataset tars in the landing are indexed in place, nothing is copied."""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.landing import landing_files, landing_storage
from kale_tasks.lake.shards import LANDING, Span
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake

_BROKEN = "broken"
_INDEX = pa.schema(
    {"uid": pa.string(), "url": pa.string(), "offset": pa.int64(), "length": pa.int64(), "sha256": pa.string()}
)  # `uid` if the JSON has one that ingest accepts, otherwise `url`, hashed
_UID = re.compile(r"[0-9a-f]{32}")
_URLS = ("url", "URL", "image_url", "original_url")
_IMAGES = {"jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"}
_BUFFER = 1 << 20
_MAX_JSON = 1 << 20


class AdoptedImage(NamedTuple):
    """Where an adopted image is, and the hash of its raw bytes if its tar records one."""

    span: Span
    sha256: str | None


class TarMember(NamedTuple):
    """An image in an img2dataset tar: its JSON metadata and where its bytes are."""

    metadata: Mapping[str, Any]
    offset: int
    length: int


def tar_files(lake: Lake, key: str) -> list[Entry]:
    """List the tars of a key, by name."""
    return [entry for entry in landing_files(lake.settings, key) if entry.path.lower().endswith(".tar")]


class TarIndex:
    """Index of a key's tars by uid. Each tar is read once and leaves a small Parquet index in the run's folder."""

    def __init__(self, lake: Lake, folder: str, entries: list[Entry]) -> None:
        self._lake, self._folder, self._entries = lake, folder, entries

    @property
    def empty(self) -> bool:
        """Whether the key has no tars."""
        return not self._entries

    def build(self, first: int) -> None:
        """Index the tars that have no index yet, beginning with number `first`: concurrent tasks share the work."""
        for i in range(len(self._entries)):
            number = (first + i) % len(self._entries)
            path = self._path(number)
            if not self._lake.storage.exists(path):
                self._lake.storage.put(path, self._index(self._entries[number]))

    def find(self, urls: Mapping[str, str | None]) -> dict[str, AdoptedImage]:
        """Return the images of pairs, by uid, given their URLs by uid; of several, the one in the first tar.

        A tar that records no uid, or one that ingest does not accept, is searched by URL.
        """
        first, last = min(urls), max(urls)
        by_url = {_hashed(url): uid for uid, url in urls.items() if url}
        wanted = (pc.field("uid") >= first) & (pc.field("uid") <= last)
        found: dict[str, AdoptedImage] = {}
        for number, entry in enumerate(self._entries):
            with self._lake.storage.arrow.open_input_file(self._path(number)) as file:
                rows = pq.read_table(file, filters=wanted | pc.field("url").isin(pa.array(by_url, pa.string())))
            for row in rows.to_pylist():
                span = Span(LANDING + entry.path, row["offset"], row["length"])
                uid = row["uid"] or by_url[row["url"]]
                if uid in urls:
                    found.setdefault(uid, AdoptedImage(span, row["sha256"] or None))
        return found

    def broken(self) -> dict[str, str]:
        """Return why tars could not be read to their end, by file name without its suffix."""
        found = {}
        for number, entry in enumerate(self._entries):
            with self._lake.storage.arrow.open_input_file(self._path(number)) as file:
                error = (pq.read_metadata(file).metadata or {}).get(_BROKEN.encode())
            if error:
                found[PurePosixPath(entry.path).stem] = f"{PurePosixPath(entry.path).name}: {error.decode()}"
        return found

    def _path(self, number: int) -> str:
        return f"{self._folder}/tar-{number:05d}.parquet"

    def _index(self, entry: Entry) -> bytes:
        rows, broken = [], ""
        with landing_storage(self._lake.settings).arrow.open_input_file(entry.path) as source:
            try:
                for member in read_tar(io.BufferedReader(source, _BUFFER)):
                    uid, url = _identity(member.metadata)
                    if (uid or url) and member.offset + member.length <= entry.size:
                        rows.append((uid, url, member.offset, member.length, _sha256(member.metadata) or ""))
            except (tarfile.TarError, OSError, EOFError, ValueError) as error:
                broken = f"{type(error).__name__}: {error}"[:120]
        table = pa.Table.from_pylist([dict(zip(_INDEX.names, row, strict=True)) for row in sorted(rows)], schema=_INDEX)
        out = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({_BROKEN: broken} if broken else {}), out, compression="zstd")
        return out.getvalue()


def read_tar(file: BinaryIO) -> Iterator[TarMember]:
    """Yield the images of an img2dataset tar, and raise TarError or OSError where it is broken or cut off."""
    stem, place, metadata = "", None, None
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name, _, suffix = member.name.rpartition(".")
            suffix = suffix.lower()
            if name != stem:
                stem, place, metadata = name, None, None
            if suffix in _IMAGES and member.isreg():
                place = (member.offset_data, member.size)
            elif suffix == "json" and member.size <= _MAX_JSON and (content := tar.extractfile(member)):
                metadata = _metadata(content.read())
            if place and metadata is not None:
                yield TarMember(metadata, *place)
                place = metadata = None
        file.seek(tar.offset)
        if not file.read(1):
            raise tarfile.ReadError("it ends too early")  # a complete tar ends with empty blocks


def _metadata(text: bytes) -> Mapping[str, Any]:
    try:
        metadata = json.loads(text)
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _identity(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return the uid that ingest gives to a row, or the hashed URL if that depends on more than the recorded uid."""
    uid = metadata.get("uid")
    if isinstance(uid, str) and _UID.fullmatch(uid.lower()):
        return uid.lower(), ""
    url = next((metadata[name] for name in _URLS if isinstance(metadata.get(name), str)), None)
    return "", _hashed(url) if url else ""


def _hashed(url: str) -> str:
    return short_sha256(url.strip(), 32)


def _sha256(metadata: Mapping[str, Any]) -> str | None:
    value = metadata.get("sha256")
    return value.lower() if isinstance(value, str) and len(value) == 64 else None
