"""Keeps the metadata of a table cheap, which grows with its keys and snapshots.

pyiceberg parses the whole metadata file at each load of a table, reads the list of manifests whenever it is asked for,
and applies the changes of a transaction, with a copy of everything, some twenty times in a commit. What it reads never
changes: a process reads each file once, and applies each change once. Parsed metadata does not change either: an update
makes new objects. So copies share what their lists hold. Snapshots are most of a file. They are written last, each as
the text that it had in the file before, and a text that is known is not parsed again.
"""

from collections import OrderedDict
from collections.abc import Iterator
from copy import copy
from functools import lru_cache
from typing import Any, TypeVar

from pydantic_core import from_json, to_json
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import ValidationError
from pyiceberg.io import FileIO, InputFile, OutputFile, load_file_io
from pyiceberg.manifest import ManifestFile
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import (
    TableMetadata,
    TableMetadataUtil,
    TableMetadataV1,
    TableMetadataV2,
    TableMetadataV3,
)
from pyiceberg.table.snapshots import Snapshot, SnapshotLogEntry

_MOST = 32  # parsed files that a process keeps: some of each table
_SNAPSHOTS = 1 << 13  # snapshots that it keeps: those of some tables
# Between the snapshots of a file. A quotation mark within a string is escaped, so these are found in no string.
_FIRST, _NEXT, _LAST = b',"snapshots":[{"snapshot-id":', b'},{"snapshot-id":', b"}]}"
_K = TypeVar("_K")
_T = TypeVar("_T")
_parsed: OrderedDict[str, TableMetadata] = OrderedDict()
_listed: OrderedDict[str, list[ManifestFile]] = OrderedDict()
_texts: OrderedDict[tuple[str, int | None], bytes] = OrderedDict()
_parse = FromInputFile.table_metadata
_write = ToOutputFile.table_metadata
_list = Snapshot.manifests
_apply = vars(Transaction)["table_metadata"].fget


def _parsed_once(input_file: InputFile, *arguments: Any) -> TableMetadata:
    """Parse a metadata file, or return what this process parsed or wrote before if the file still exists."""
    found = _parsed.get(input_file.location)
    if found is None or not input_file.exists():  # of a file that is gone, the library says so
        found = _parse_new(input_file) or _parse(input_file, *arguments)
    return _keep(_parsed, input_file.location, found)


def _parse_new(input_file: InputFile) -> TableMetadata | None:
    """Parse what is new in a metadata file; None if it is damaged, or written by somebody else."""
    with input_file.open() as stream:
        text, _, snapshots = stream.read().partition(_FIRST)
    if not snapshots.endswith(_LAST):
        return None
    try:
        values = from_json(text + b"}")
        values["snapshots"] = [_snapshot(one) for one in snapshots.removesuffix(_LAST).split(_NEXT)]
        values["snapshot-log"] = [_log_entry(one["snapshot-id"], one["timestamp-ms"]) for one in values["snapshot-log"]]
        return TableMetadataUtil.parse_obj(values)
    except (KeyError, TypeError, ValidationError, ValueError):  # the library says what is wrong
        return None


@lru_cache(maxsize=_SNAPSHOTS)
def _snapshot(text: bytes) -> Snapshot:
    return Snapshot.model_validate_json(b'{"snapshot-id":%b}' % text)


@lru_cache(maxsize=_SNAPSHOTS)
def _log_entry(snapshot_id: int, timestamp_ms: int) -> SnapshotLogEntry:
    return SnapshotLogEntry(snapshot_id=snapshot_id, timestamp_ms=timestamp_ms)


def _written(metadata: TableMetadata, output_file: OutputFile, overwrite: bool = False) -> None:
    """Write a metadata file and keep what is in it."""
    if metadata.snapshots and metadata.format_version > 1 and not output_file.location.endswith(".gz.metadata.json"):
        with output_file.create(overwrite=overwrite) as stream:
            for text in _as_text(metadata):
                stream.write(text)  # type: ignore[arg-type]
    else:
        _write(metadata, output_file, overwrite)
    _keep(_parsed, output_file.location, metadata)


def _as_text(metadata: TableMetadata) -> Iterator[bytes | memoryview]:
    yield memoryview(to_json(metadata, by_alias=True, exclude_none=True, exclude={"snapshots"}))[:-1]
    yield b',"snapshots":[%b]}' % b",".join(map(_snapshot_text, metadata.snapshots))


def _snapshot_text(snapshot: Snapshot) -> bytes:
    place = snapshot.manifest_list, snapshot.parent_snapshot_id  # it no longer names its parent once that has expired
    text = _texts.get(place)
    return text or _keep(_texts, place, snapshot.model_dump_json().encode(), _SNAPSHOTS)


def _listed_once(self: Snapshot, io: FileIO) -> list[ManifestFile]:
    """Read the list of the manifests of a snapshot, or return what this process read before if it still exists."""
    file = io.new_input(self.manifest_list)
    found = _listed.get(file.location)
    if found is None or not file.exists():
        found = _list(self, io)
    return [*_keep(_listed, file.location, found)]


def _keep(kept: OrderedDict[_K, _T], name: _K, found: _T, most: int = _MOST) -> _T:
    kept[name] = found
    kept.move_to_end(name)
    while len(kept) > most:
        kept.popitem(last=False)
    return found


def _applied_once(self: Transaction) -> TableMetadata:
    """Apply the changes of a transaction to the metadata of its table, unless these are the same as before."""
    table, updates = self._table.metadata, self._updates
    known = vars(self).get("_applied")
    if known is None or known[0] is not table or known[1] is not updates:
        known = vars(self)["_applied"] = table, updates, _apply(self)
    applied: TableMetadata = known[2]
    return applied


def _file_io(self: SqlCatalog, properties: Any = None, location: str | None = None) -> FileIO:
    """Return how files of a table are read: as its catalog says, and not with a copy of the records of all keys."""
    return load_file_io(self.properties, location)


def _shallow(self: Any, _: dict[int, Any] | None = None) -> Any:
    """Return a copy with lists of its own of the same objects."""
    own = {name: copy(value) for name, value in vars(self).items() if isinstance(value, list | dict)}
    return self.model_copy(update=own)


def share_metadata() -> None:
    """Make pyiceberg parse, write and copy as described, in this process."""
    for kind, name, instead in (
        (FromInputFile, "table_metadata", staticmethod(_parsed_once)),
        (ToOutputFile, "table_metadata", staticmethod(_written)),
        (Snapshot, "manifests", _listed_once),
        (Transaction, "table_metadata", property(_applied_once)),
        (SqlCatalog, "_load_file_io", _file_io),
        *((kind, "__deepcopy__", _shallow) for kind in (TableMetadataV1, TableMetadataV2, TableMetadataV3)),
    ):
        setattr(kind, name, instead)
