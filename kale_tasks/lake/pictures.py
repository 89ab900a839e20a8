"""Pictures of the landing that are no members of tars: described by files beside them, or by a table of their folder.

`datasets` names such a table `metadata.csv` or `metadata.jsonl`; its column `file_name` is the path of a picture from
the folder of the table.
"""

import csv
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kale_tasks.lake import records
from kale_tasks.lake.landing import BESIDE, is_picture, place_url, stem_and_ending
from kale_tasks.lake.records import PLACE, Record
from kale_tasks.lake.storage.base import Entry, Storage

_NAME = "file_name"
_TABLES = {"metadata.csv": records.table(","), "metadata.jsonl": records.json_lines}


def is_picture_table(path: str) -> bool:
    """Tell whether a file is named like the table of a folder of pictures."""
    return posixpath.basename(path).lower() in _TABLES


def with_places(found: Iterator[Record], table: str) -> Iterator[Record]:
    """Give the records of a table that name a picture its place, as a URL for those that have none."""
    for record in found:
        if record is None or _NAME not in record:
            yield record
        else:
            path = _picture(record, table)
            yield {**record, PLACE: place_url(stem_and_ending(path)[0]) if path else None}


def described_pictures(landing: Storage, entries: Sequence[Entry]) -> list[Entry]:
    """List the pictures that a file beside them or a table describes, and those files and tables."""
    tables = _tables_of(landing, entries)
    roots = tuple(f"{posixpath.dirname(table.path)}/" for table in tables)
    pictures = {stem_and_ending(entry.path)[0] for entry in entries if is_picture(entry.path)}
    beside = {stem for stem, ending in (stem_and_ending(entry.path) for entry in entries) if ending in BESIDE}
    described = {stem for stem in pictures if stem in beside or stem.startswith(roots)}
    named = {table.path for table in tables}
    return [entry for entry in entries if stem_and_ending(entry.path)[0] in described or entry.path in named]


def named_pictures(landing: Storage, table: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path of each picture that a table names, with its record."""
    for record in _records(landing, table):
        if record and _NAME in record and (path := _picture(record, table)):
            yield path, dict(record)


def _tables_of(landing: Storage, entries: Sequence[Entry]) -> list[Entry]:
    """List the tables that name pictures which have landed below their folders."""
    folders = {posixpath.dirname(entry.path) for entry in entries if is_picture(entry.path)}
    tables = [entry for entry in entries if is_picture_table(entry.path)]
    beside = [t for t in tables if any(f"{folder}/".startswith(f"{posixpath.dirname(t.path)}/") for folder in folders)]
    return [table for table in beside if _NAME in (next(_records(landing, table.path), None) or ())]


def _picture(record: Mapping[str, Any], table: str) -> str | None:
    """Return the path of the picture that a record names, or None if that is not below the folder of the table."""
    name, folder = record[_NAME], posixpath.dirname(table)
    path = posixpath.normpath(f"{folder}/{name}") if isinstance(name, str) else ""
    return path if path.startswith(f"{folder}/") else None


def _records(landing: Storage, table: str) -> Iterator[Record]:
    """Yield the records of a table up to where it is broken."""
    read = _TABLES[posixpath.basename(table).lower()]
    with suppress(OSError, ValueError, csv.Error), landing.arrow.open_input_stream(table, compression=None) as source:
        yield from read(source)
