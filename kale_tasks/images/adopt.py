"""Images that are here already: img2dataset tars of the landing, indexed where they stand, nothing copied."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.images.tars import read_members
from kale_tasks.lake.landing import landing_files, landing_storage
from kale_tasks.lake.shards import LANDING
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake

_BROKEN = "broken"
_INDEX = pa.schema({"uid": pa.string(), "offset": pa.int64(), "length": pa.int64(), "sha256": pa.string()})
_BUFFER = 1 << 20


class Place(NamedTuple):
    """Where an adopted image is, and the hash of its raw bytes as its tar tells it."""

    shard: str
    offset: int
    length: int
    sha256: str | None


def tar_files(lake: Lake, key: str) -> list[Entry]:
    """The tars of a key, by name."""
    return [entry for entry in landing_files(lake.settings, key) if entry.path.endswith(".tar")]


def content(entries: list[Entry]) -> str:
    """A name for what a list of tars holds, the same wherever they stand."""
    return hashlib.sha256(json.dumps([[e.path, e.size] for e in entries]).encode()).hexdigest()[:20]


class Tars:
    """The images of a key's tars by uid; each tar is read through once and leaves a small index in the run's folder."""

    def __init__(self, lake: Lake, folder: str, entries: list[Entry]) -> None:
        self._lake, self._folder, self._entries = lake, folder, entries

    def index(self, first: int) -> None:
        """Index what is not yet indexed; different tasks begin with different tars, and so share the work."""
        for i in range(len(self._entries)):
            number = (first + i) % len(self._entries)
            path = self._path(number)
            if not self._lake.storage.exists(path):
                self._lake.storage.put(path, self._read(self._entries[number]))

    def between(self, first: str, last: str) -> dict[str, Place]:
        """Where the images with uids from first to last are; a uid found twice is where it is found first."""
        found: dict[str, Place] = {}
        for number, entry in enumerate(self._entries):
            with self._lake.storage.arrow.open_input_file(self._path(number)) as file:
                rows = pq.read_table(file, filters=(pc.field("uid") >= first) & (pc.field("uid") <= last))
            for row in rows.to_pylist():
                found.setdefault(
                    row["uid"], Place(LANDING + entry.path, row["offset"], row["length"], row["sha256"] or None)
                )
        return found

    def broken(self) -> dict[str, str]:
        """Why tars could not be read to their end, by the name that they share with their metadata file."""
        found = {}
        for number, entry in enumerate(self._entries):
            with self._lake.storage.arrow.open_input_file(self._path(number)) as file:
                why = (pq.read_metadata(file).metadata or {}).get(_BROKEN.encode())
            if why:
                found[PurePosixPath(entry.path).stem] = f"{PurePosixPath(entry.path).name}: {why.decode()}"
        return found

    def _path(self, number: int) -> str:
        return f"{self._folder}/tar-{number:05d}.parquet"

    def _read(self, entry: Entry) -> bytes:
        rows, why = [], ""
        with landing_storage(self._lake.settings).arrow.open_input_file(entry.path) as source:
            try:
                for member in read_members(io.BufferedReader(source, _BUFFER)):
                    uid = _uid(member.told)
                    if uid and member.offset + member.length <= entry.size:
                        rows.append((uid, member.offset, member.length, _sha256(member.told) or ""))
            except (tarfile.TarError, OSError, EOFError, ValueError) as error:
                why = f"{type(error).__name__}: {error}"[:120]
        table = pa.Table.from_pylist([dict(zip(_INDEX.names, row, strict=True)) for row in sorted(rows)], schema=_INDEX)
        out = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({_BROKEN: why} if why else {}), out, compression="zstd")
        return out.getvalue()


def _uid(told: Mapping[str, Any]) -> str | None:
    uid = told.get("uid")
    return uid if isinstance(uid, str) and uid else None


def _sha256(told: Mapping[str, Any]) -> str | None:
    value = told.get("sha256")
    return value if isinstance(value, str) and len(value) == 64 else None
