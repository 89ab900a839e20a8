"""Keeps the metadata of a table cheap, which grows with its keys and snapshots.

pyiceberg parses the whole metadata file at each load of a table, and copies every snapshot at each change. Metadata
files and snapshots never change, so each file is parsed once by a process, and copies share their snapshots.
"""

from collections import OrderedDict
from typing import Any

from pyiceberg.io import InputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry

_MOST = 32  # parsed files that a process keeps: some of each table
_parsed: OrderedDict[str, TableMetadata] = OrderedDict()
_parse = FromInputFile.table_metadata


def _parsed_once(input_file: InputFile, *arguments: Any) -> TableMetadata:
    """Parse a metadata file, or return what this process parsed before if the file still exists."""
    found = _parsed.get(input_file.location)
    if found is None or not input_file.exists():  # of a file that is gone, the library says so
        found = _parse(input_file, *arguments)
    _parsed[input_file.location] = found
    _parsed.move_to_end(input_file.location)
    while len(_parsed) > _MOST:
        _parsed.popitem(last=False)
    return found


def _shared(self: Any, _: dict[int, Any] | None = None) -> Any:
    """Return an immutable object as its own deep copy."""
    return self


def share_metadata() -> None:
    """Make pyiceberg parse and copy as described, in this process."""
    FromInputFile.table_metadata = staticmethod(_parsed_once)  # type: ignore[assignment, method-assign]
    for immutable in (Snapshot, SnapshotLogEntry, MetadataLogEntry):
        immutable.__deepcopy__ = _shared  # type: ignore[assignment, method-assign]
