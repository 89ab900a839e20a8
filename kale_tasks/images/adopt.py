"""Adopts images that already exist: img2dataset tars in the landing are indexed in place, nothing is copied."""

import io
import json
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
_INDEX = pa.schema({"uid": pa.string(), "offset": pa.int64(), "length": pa.int64(), "sha256": pa.string()})
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
    return [entry for entry in landing_files(lake.settings, key) if entry.path.endswith(".tar")]


def tars_content(entries: list[Entry]) -> str:
    """Return a hash of the names and sizes of tars."""
    return short_sha256(json.dumps([[e.path, e.size] for e in entries]))


class TarIndex:
    """Index of a key's tars by uid. Each tar is read once and leaves a small Parquet index in the run's folder."""

    def __init__(self, lake: Lake, folder: str, entries: list[Entry]) -> None:
        self._lake, self._folder, self._entries = lake, folder, entries

    def build(self, first: int) -> None:
        """Index the tars that have no index yet, beginning with number `first`: concurrent tasks share the work."""
        for i in range(len(self._entries)):
            number = (first + i) % len(self._entries)
            path = self._path(number)
            if not self._lake.storage.exists(path):
                self._lake.storage.put(path, self._index(self._entries[number]))

    def between(self, first: str, last: str) -> dict[str, AdoptedImage]:
        """Return the images with uids from first to last; of several with one uid, the one in the first tar."""
        found: dict[str, AdoptedImage] = {}
        for number, entry in enumerate(self._entries):
            with self._lake.storage.arrow.open_input_file(self._path(number)) as file:
                rows = pq.read_table(file, filters=(pc.field("uid") >= first) & (pc.field("uid") <= last))
            for row in rows.to_pylist():
                span = Span(LANDING + entry.path, row["offset"], row["length"])
                found.setdefault(row["uid"], AdoptedImage(span, row["sha256"] or None))
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
                    uid = _uid(member.metadata)
                    if uid and member.offset + member.length <= entry.size:
                        rows.append((uid, member.offset, member.length, _sha256(member.metadata) or ""))
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
            if name != stem:
                stem, place, metadata = name, None, None
            if suffix in ("jpg", "jpeg", "png", "webp") and member.isreg():
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


def _uid(metadata: Mapping[str, Any]) -> str | None:
    uid = metadata.get("uid")
    return uid if isinstance(uid, str) and uid else None


def _sha256(metadata: Mapping[str, Any]) -> str | None:
    value = metadata.get("sha256")
    return value if isinstance(value, str) and len(value) == 64 else None
