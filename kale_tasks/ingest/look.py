"""Looks at the landing files of a key before they are ingested: columns found, first rows, what would be dropped."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from kale_tasks.ingest.blocklists import read_lists
from kale_tasks.ingest.clean import RowCleaner
from kale_tasks.ingest.pieces import DataFile, Piece, data_files, pieces_of
from kale_tasks.ingest.rules import configured_rules
from kale_tasks.ingest.sources import BROKEN, columns_of, read_piece
from kale_tasks.lake.landing import landing_files, landing_storage
from kale_tasks.lake.pictures import described_pictures
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tombstones import Matcher
from kale_tasks.settings import Settings

_FILES = 20  # most files that are looked into, from the first to the last
_SHOWN = 100  # characters of a text or address that are shown


@dataclass
class Look:
    """What the first rows of the landing files of a key show."""

    files: list[dict[str, Any]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # files of other formats
    rows: int = 0  # that were read
    dropped: Counter[str] = field(default_factory=Counter)  # rows by rule or reason
    examples: dict[str, str] = field(default_factory=dict)  # of a dropped row by rule or reason
    first: list[dict[str, Any]] = field(default_factory=list)


def look_at(settings: Settings, key: str, rows: int, shown: int) -> Look:
    """Read the first `rows` rows of each file, at most of 20 files, and tell what ingest would do. Writes nothing.

    Duplicates, rows that earlier keys keep and takedowns need the whole key and the lake; they are not considered.
    """
    landing, files, found = landing_storage(settings), data_files(settings, key), Look()
    known, landed = {path for file in files for path in (file.path, *file.members)}, landing_files(settings, key)
    known |= {entry.path for entry in described_pictures(landing, landed)}
    found.ignored = [entry.path.partition("/")[2] for entry in landed if entry.path not in known]
    lists = read_lists(landing, settings.ingest.lists)
    rules = configured_rules(settings.ingest, lists)
    cleaner = RowCleaner(settings.ingest, lists, rules, Matcher(), key, parts=1)
    for file in files[:: max(1, -(-len(files) // _FILES))]:
        pieces = pieces_of(landing, [file], settings.ingest.piece_rows)
        found.files.append(_described(landing, file, pieces, settings))
        if pieces:
            _judge(found, cleaner, landing, pieces[0], rows, shown)
    return found


def _described(landing: Storage, file: DataFile, pieces: Sequence[Piece], settings: Settings) -> dict[str, Any]:
    about = {"file": file.name or file.path, "format": f"{file.format}{file.compression}"}
    exact = all(piece.groups is not None for piece in pieces)
    about["rows"] = f"{'' if exact else 'about '}{sum(piece.rows for piece in pieces):,}"
    try:
        columns = columns_of(landing, file)
    except BROKEN as error:
        return {**about, "columns": f"cannot be read: {error}"[:200], "missing": "", "not used": ""}
    taken = {name: [n for n in names if n in columns] for name, names in settings.ingest.columns.items()}
    about |= {"columns": ", ".join(f"{name} from {' or '.join(some)}" for name, some in taken.items() if some)}
    about["missing"] = ", ".join(name for name in ("url", "alt_text") if not taken[name])
    about["not used"] = ", ".join(sorted(set(columns) - {n for some in taken.values() for n in some}))[:200]
    return about


def _judge(found: Look, cleaner: RowCleaner, landing: Storage, piece: Piece, rows: int, shown: int) -> None:
    for batch in _first(read_piece(landing, piece, cleaner.settings.columns), rows):
        found.rows += batch.num_rows
        for row in cleaner.clean(piece.file, batch).to_pylist():
            rule = row["reason"] or row["row_rule"]
            about = {"file": piece.file.name, "url": (row["url"] or "")[:_SHOWN], "text": row["text"][:_SHOWN]}
            if rule:
                found.dropped[rule] += 1
                found.examples.setdefault(rule, row["detail"] or about["text"] or about["url"])
            if len(found.first) < shown:
                found.first.append({**about, "language": row["lang"] or "", "dropped by": rule or ""})


def _first(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in islice(batches, -(-rows // 4096) + 1):
        if rows > 0:
            yield batch.slice(0, rows)
        rows -= batch.num_rows
