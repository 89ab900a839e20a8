"""The data files among the landing files of a key, and the pieces in which they are read."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.errors import BadData
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.landing import BESIDE, is_picture, landing_files, landing_storage, stem_and_ending
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.settings.model import Settings

FORMATS = ("parquet", "arrow", "json", "jsonl", "csv", "tsv", "tar", "pictures")
_ENDINGS = {**{name: name for name in FORMATS[:-1]}, "ndjson": "jsonl", "feather": "arrow"}
# JSON files that other tools write about their data: img2dataset, `datasets`.
_ABOUT = re.compile(r"(?:.*_stats|dataset_infos?|dataset_dict|state|metadata_schema)\.json")
# Compressions by file ending, with the assumed bytes per row of files that do not record how many rows they hold.
_ROW_BYTES = {"": 300, ".gz": 100, ".bz2": 80, ".xz": 80, ".zst": 100}


@dataclass(frozen=True)
class DataFile:
    """A landing file that holds rows. Files are numbered in path order, which orders the rows of a key."""

    number: int
    path: str  # relative to the landing area
    format: str  # one of FORMATS
    compression: str  # the file ending, such as ".gz"; empty: none
    size: int
    members: tuple[str, ...] = ()  # of a folder of pictures: the files beside them

    @property
    def name(self) -> str:
        """The path relative to the key's folder."""
        return self.path.partition("/")[2]


@dataclass(frozen=True)
class Piece:
    """What one scan task reads: a whole file, or some row groups of a Parquet file."""

    number: int
    file: DataFile
    first_row: int = 0
    groups: tuple[int, ...] | None = None  # None: the whole file
    rows: int = 0  # exact for row groups, otherwise estimated from the file size


def data_files(settings: Settings, key: str) -> list[DataFile]:
    """List the data files of a key in path order.

    A tar next to a table of the same stem is left out: it holds only the images of that table. Raises BadData when
    there is no data file at all.
    """
    entries = landing_files(settings, key)
    folders = _beside_pictures(entries)
    members = {path for known in folders.values() for path in known.members}
    typed = [(e, *kind) for e in entries if e.path not in members and (kind := _format(e.path))]
    tables = {_stem(entry.path) for entry, format_, _ in typed if format_ != "tar"}
    chosen = [t for t in typed if t[1] != "tar" or _stem(t[0].path) not in tables]
    if not chosen and not folders:
        place = landing_storage(settings).uri(key)
        raise BadData(f"There are no landing files for {key} in {place}. Put some there, or check the key.")
    found = [DataFile(0, e.path, format_, compression, e.size) for e, format_, compression in chosen]
    in_order = sorted([*found, *folders.values()], key=lambda file: file.path)
    return [replace(file, number=number) for number, file in enumerate(in_order)]


def _beside_pictures(entries: Sequence[Entry]) -> dict[str, DataFile]:
    """Return for each folder with pictures the text and JSON files beside them, as one file."""
    pictures = {stem_and_ending(entry.path)[0] for entry in entries if is_picture(entry.path)}
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        stem, ending = stem_and_ending(entry.path)
        if ending in BESIDE and stem in pictures:
            found.setdefault(str(PurePosixPath(entry.path).parent), []).append(entry)
    return {
        folder: DataFile(0, f"{folder}/", "pictures", "", sum(e.size for e in some), tuple(e.path for e in some))
        for folder, some in found.items()
    }


def tag_of(landing: Storage, file: DataFile) -> str:
    """Return what changes when a file is replaced, at the cost of a look at it."""
    return short_sha256(" ".join(str(landing.tag(path)) for path in file.members or (file.path,)))


def content_of(landing: Storage, files: Sequence[DataFile]) -> str:
    """Hash the names and contents of files. The hash changes when a file is added, removed or changed."""
    known = hashlib.sha256()
    with ThreadPoolExecutor(8) as pool:
        for file, content in zip(files, pool.map(lambda f: _content(landing, f), files), strict=True):
            known.update(f"{file.name}\0{file.size}\0{content}\n".encode())
    return known.hexdigest()[:20]


def pieces_of(landing: Storage, files: Sequence[DataFile], piece_rows: int) -> list[Piece]:
    """Divide files into pieces of about `piece_rows` rows. Reads the footers of Parquet files, but no rows."""
    with ThreadPoolExecutor(8) as pool:
        cuts = list(pool.map(lambda f: list(_cut(landing, f, piece_rows)), files))
    numbered = enumerate(cut for file_cuts in cuts for cut in file_cuts)
    return [Piece(number, *cut) for number, cut in numbered]


def first_pieces(pieces: Sequence[Piece], limit: int | None) -> list[Piece]:
    """Return the shortest prefix of pieces that certainly holds `limit` rows, or all pieces without a limit."""
    chosen, certain = list[Piece](), 0
    for piece in pieces:
        if limit is not None and certain >= limit:
            break
        chosen.append(piece)
        certain += piece.rows if piece.groups is not None else 0
    return chosen


_Cut = tuple[DataFile, int, tuple[int, ...] | None, int]


def _cut(landing: Storage, file: DataFile, piece_rows: int) -> Iterator[_Cut]:
    if file.format != "parquet" or file.compression:
        yield file, 0, None, file.size // _ROW_BYTES[file.compression] + 1
        return
    try:
        with landing.arrow.open_input_file(file.path) as source:
            footer = pq.read_metadata(source)
    except (pa.ArrowException, OSError):
        yield file, 0, None, 1  # a broken file: the task that reads it quarantines it
        return
    start, groups, rows = 0, list[int](), 0
    for group in range(footer.num_row_groups):
        groups.append(group)
        rows += footer.row_group(group).num_rows
        if rows >= piece_rows or group == footer.num_row_groups - 1:
            yield file, start, tuple(groups), rows
            start, groups, rows = start + rows, [], 0


def _format(path: str) -> tuple[str, str] | None:
    name = PurePosixPath(path).name.lower()
    if _ABOUT.fullmatch(name):
        return None
    for compression in _ROW_BYTES:
        stem = name.removesuffix(compression)
        if (not compression or stem != name) and (format_ := _ENDINGS.get(stem.rpartition(".")[2])) and "." in stem:
            return format_, compression
    return None


def _stem(path: str) -> str:
    """Return a path without the endings of its format and compression."""
    without = path[: -len(compression)] if (compression := PurePosixPath(path).suffix.lower()) in _ROW_BYTES else path
    return without.rpartition(".")[0]


def _content(landing: Storage, file: DataFile) -> str:
    if not isinstance(landing, FolderStorage):
        return (
            tag_of(landing, file) if file.members else str(landing.tag(file.path))
        )  # S3 returns a hash of the content
    known = hashlib.sha256()
    for path in file.members or (file.path,):
        with landing.arrow.open_input_stream(path, compression=None) as source:
            while block := source.read(1 << 22):
                known.update(block)
    return known.hexdigest()
