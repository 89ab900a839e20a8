"""Keeps the metadata of a table cheap, which grows with its keys and snapshots.

pyiceberg parses the whole metadata file at each load of a table, and copies all of it some twenty times in a commit.
Metadata files never change, so each is parsed once by a process, and not at all by the one that wrote it. Parsed
metadata does not change either: an update makes new objects. So copies share what their lists hold, and a file that
another process wrote shares the snapshots that it has in common with the one before it: parsing those takes longest.
"""

from collections import OrderedDict
from collections.abc import Mapping
from copy import copy
from typing import Any

from pydantic_core import from_json
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyiceberg.table.metadata import (
    TableMetadata,
    TableMetadataUtil,
    TableMetadataV1,
    TableMetadataV2,
    TableMetadataV3,
)
from pyiceberg.table.snapshots import Snapshot

_MOST = 32  # parsed files that a process keeps: some of each table
_parsed: OrderedDict[str, TableMetadata] = OrderedDict()
_parse = FromInputFile.table_metadata
_write = ToOutputFile.table_metadata


def _parsed_once(input_file: InputFile, *arguments: Any) -> TableMetadata:
    """Parse a metadata file, or return what this process parsed or wrote before if the file still exists."""
    found = _parsed.get(input_file.location)
    if found is None or not input_file.exists():  # of a file that is gone, the library says so
        known = _snapshots_beside(input_file.location)
        found = _parse_beside(input_file, known) if known else _parse(input_file, *arguments)
    _keep(input_file.location, found)
    return found


def _snapshots_beside(location: str) -> dict[int, Snapshot]:
    """The snapshots of the same table that this process has parsed or written last; none of a compressed file."""
    folder, suffix = location.rpartition("/")[0], ".gz.metadata.json"
    beside = (found for place, found in reversed(list(_parsed.items())) if place.rpartition("/")[0] == folder)
    last = None if location.endswith(suffix) else next(beside, None)
    return {snapshot.snapshot_id: snapshot for snapshot in last.snapshots} if last else {}


def _parse_beside(input_file: InputFile, known: Mapping[int, Snapshot]) -> TableMetadata:
    with input_file.open() as stream:
        values = from_json(stream.read())
    try:
        values["snapshots"] = [_same(snapshot, known) or snapshot for snapshot in values["snapshots"]]
    except (KeyError, TypeError):  # the library says what is wrong
        return _parse(input_file)
    return TableMetadataUtil.parse_obj(values)


def _same(values: Mapping[str, Any], known: Mapping[int, Snapshot]) -> Snapshot | None:
    """Return the known snapshot that has these values; its parent is no longer named once that has expired."""
    found = known.get(values["snapshot-id"])
    if found and (found.manifest_list, found.parent_snapshot_id) == (
        values["manifest-list"], values.get("parent-snapshot-id")
    ):  # fmt: skip
        return found
    return None


def _written(metadata: TableMetadata, output_file: OutputFile, *arguments: Any, **options: Any) -> None:
    """Write a metadata file and keep what is in it."""
    _write(metadata, output_file, *arguments, **options)
    _keep(output_file.location, metadata)


def _keep(location: str, metadata: TableMetadata) -> None:
    _parsed[location] = metadata
    _parsed.move_to_end(location)
    while len(_parsed) > _MOST:
        _parsed.popitem(last=False)


def _shallow(self: Any, _: dict[int, Any] | None = None) -> Any:
    """Return a copy with lists of its own of the same objects."""
    own = {name: copy(value) for name, value in vars(self).items() if isinstance(value, list | dict)}
    return self.model_copy(update=own)


def share_metadata() -> None:
    """Make pyiceberg parse and copy as described, in this process."""
    FromInputFile.table_metadata = staticmethod(_parsed_once)  # type: ignore[assignment, method-assign]
    ToOutputFile.table_metadata = staticmethod(_written)  # type: ignore[method-assign]
    for kind in (TableMetadataV1, TableMetadataV2, TableMetadataV3):
        kind.__deepcopy__ = _shallow  # type: ignore[assignment, method-assign]
