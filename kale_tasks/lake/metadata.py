"""Keeps the metadata of a table cheap, which grows with its keys and snapshots.

pyiceberg parses the whole metadata file at each load of a table, and copies all of it some twenty times in a commit.
Metadata files never change, so each is parsed once by a process. Parsed metadata does not change either: an update
makes new objects. So copies share what their lists hold.
"""

from collections import OrderedDict
from copy import copy
from typing import Any

from pyiceberg.io import InputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataV1, TableMetadataV2, TableMetadataV3

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


def _shallow(self: Any, _: dict[int, Any] | None = None) -> Any:
    """Return a copy with lists of its own of the same objects."""
    own = {name: copy(value) for name, value in vars(self).items() if isinstance(value, list | dict)}
    return self.model_copy(update=own)


def share_metadata() -> None:
    """Make pyiceberg parse and copy as described, in this process."""
    FromInputFile.table_metadata = staticmethod(_parsed_once)  # type: ignore[assignment, method-assign]
    for kind in (TableMetadataV1, TableMetadataV2, TableMetadataV3):
        kind.__deepcopy__ = _shallow  # type: ignore[assignment, method-assign]
