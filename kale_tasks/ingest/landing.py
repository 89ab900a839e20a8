"""The landing files of a key: which there are, what is in them, and how reading them is cut into pieces."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.folder import FolderStorage

KINDS = ("parquet", "jsonl", "csv", "tsv", "tar")
PACKED = ("", ".gz", ".bz2", ".xz", ".zst")
_ROW_BYTES = {
    "": 300,
    ".gz": 100,
    ".bz2": 80,
    ".xz": 80,
    ".zst": 100,
}  # of formats that do not say how many rows they hold


@dataclass(frozen=True)
class LandingFile:
    """A file to read rows from; its number orders the rows of a key."""

    number: int
    path: str  # below the landing folder
    kind: str
    packed: str
    size: int

    @property
    def name(self) -> str:
        """Its path below the key's folder."""
        return self.path.partition("/")[2]


@dataclass(frozen=True)
class Piece:
    """What one task reads: a file, or some row groups of a Parquet file."""

    number: int
    file: LandingFile
    first_row: int = 0
    groups: tuple[int, ...] | None = None
    rows: int = 0  # as far as known without reading


def landing_files(storage: Storage, key: str) -> list[LandingFile]:
    """The files of a key in the order of their names; a tar beside a file of the same stem holds only its pictures."""
    entries = sorted(storage.entries(key), key=lambda entry: entry.path)
    known = [(entry, *kind) for entry in entries if (kind := _kind(entry.path))]
    tables = {_stem(entry.path) for entry, kind, _ in known if kind != "tar"}
    chosen = [k for k in known if k[1] != "tar" or _stem(k[0].path) not in tables]
    if not chosen:
        raise BadData(f"There are no landing files for {key} in {storage.uri(key)}. Put some there, or check the key.")
    return [LandingFile(i, e.path, kind, packed, e.size) for i, (e, kind, packed) in enumerate(chosen)]


def content_of(storage: Storage, files: Sequence[LandingFile]) -> str:
    """A hash of names and contents: it changes when a file comes late or changes."""
    known = hashlib.sha256()
    with ThreadPoolExecutor(8) as pool:
        for file, content in zip(files, pool.map(lambda f: _content(storage, f.path), files), strict=True):
            known.update(f"{file.name}\0{file.size}\0{content}\n".encode())
    return known.hexdigest()[:20]


def pieces_of(storage: Storage, files: Sequence[LandingFile], piece_rows: int) -> list[Piece]:
    """How the reading is cut; looks at the footers of Parquet files, at no row."""
    with ThreadPoolExecutor(8) as pool:
        cuts = list(pool.map(lambda f: list(_cut(storage, f, piece_rows)), files))
    numbered = enumerate(cut for file_cuts in cuts for cut in file_cuts)
    return [Piece(number, *cut) for number, cut in numbered]


def first_pieces(pieces: Sequence[Piece], limit: int | None) -> list[Piece]:
    """As many of the first pieces as surely hold so many rows."""
    chosen, sure = list[Piece](), 0
    for piece in pieces:
        if limit is not None and sure >= limit:
            break
        chosen.append(piece)
        sure += piece.rows if piece.groups is not None else 0
    return chosen


_Cut = tuple[LandingFile, int, tuple[int, ...] | None, int]


def _cut(storage: Storage, file: LandingFile, piece_rows: int) -> Iterator[_Cut]:
    if file.kind != "parquet" or file.packed:
        yield file, 0, None, file.size // _ROW_BYTES[file.packed] + 1
        return
    try:
        with storage.arrow.open_input_file(file.path) as source:
            footer = pq.read_metadata(source)
    except (pa.ArrowException, OSError):
        yield file, 0, None, 1  # broken: the task that reads it says so
        return
    start, groups, rows = 0, list[int](), 0
    for group in range(footer.num_row_groups):
        groups.append(group)
        rows += footer.row_group(group).num_rows
        if rows >= piece_rows or group == footer.num_row_groups - 1:
            yield file, start, tuple(groups), rows
            start, groups, rows = start + rows, [], 0


def _kind(path: str) -> tuple[str, str] | None:
    name = PurePosixPath(path).name
    if name.startswith((".", "_")):
        return None
    for packed in PACKED:
        stem = name.removesuffix(packed)
        if (not packed or stem != name) and (ending := stem.rpartition(".")[2]) in KINDS and "." in stem:
            return ending, packed
    return None


def _stem(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0]


def _content(storage: Storage, path: str) -> str:
    if not isinstance(storage, FolderStorage):
        return str(storage.tag(path))  # S3 tells a hash of the content
    known = hashlib.sha256()
    with storage.arrow.open_input_stream(path, compression=None) as source:
        while block := source.read(1 << 22):
            known.update(block)
    return known.hexdigest()
