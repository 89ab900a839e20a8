"""Reads what people have, a folder of pictures or a table, and lays it down as the landing files of a key."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.ingest.pieces import data_files
from kale_tasks.ingest.sources import BROKEN, columns_of, records_of
from kale_tasks.lake.landing import is_hidden, is_picture, landing_storage, link_files, stem_and_ending
from kale_tasks.settings import Settings

# Columns of tables that hold a picture itself, or name its file: as people, `datasets` and image folders call them.
_IMAGES = ("image", "img", "picture", "jpg", "bytes")
_PATHS = ("file_name", "filename", "path", "image_path", "file", "image", "img")
_SHOWN = 12  # columns that a message lists


@dataclass(frozen=True)
class Picture:
    """A picture of a person: where it is or its bytes, its name, its text (empty: none) and what else is known."""

    name: str
    content: Path | bytes
    text: str = ""
    known: Mapping[str, Any] | None = None


def land(settings: Settings, source: Path, key: str) -> int:
    """Make a folder, a table or one picture the landing files of a key, in place of those before; return their number.

    Pictures are linked, not copied. One without a text gets the words of its file name. Raises BadConfig if there is
    nothing that can be read.
    """
    target = Path(settings.landing, key)
    shutil.rmtree(target, ignore_errors=True)
    if not source.exists():
        raise BadConfig(f"{source} does not exist. Name a folder of pictures, a picture, or a Parquet or CSV file.")
    if source.is_file() and not is_picture(source.name):
        return _land_table(settings, source, key)
    files = [source] if source.is_file() else _files(source)
    root = source.parent if source.is_file() else source
    if any(is_picture(file.name) for file in files):
        return lay_down(target, _of_folder(settings, root, files))
    return link_files(settings, source, key)  # tars and tables, or nothing: then it says so


def _land_table(settings: Settings, source: Path, key: str) -> int:
    target = Path(settings.landing, key)
    target.mkdir(parents=True, exist_ok=True)
    link = target / source.name
    link.symlink_to(source.resolve())
    columns = _columns(settings, key, source)
    texts = [name for name in settings.ingest.columns["alt_text"] if name in columns]
    if held := next((name for name in _IMAGES if name in columns and _holds_bytes(source, name)), None):
        link.unlink()
        return lay_down(target, _of_column(source, held, texts))
    if path := next((name for name in _PATHS if name in columns and _names_files(settings, key, source, name)), None):
        found = list(_of_paths(settings, key, source, path))
        link.unlink()
        return lay_down(target, iter(found))
    if not set(settings.ingest.columns["url"]) & set(columns):
        raise BadConfig(
            f"{source} has the columns {', '.join(columns[:_SHOWN])}; none is known to hold addresses, files or bytes "
            f"of pictures. Name it: --set 'ingest.columns.url=[{columns[0] if columns else 'COLUMN'}]'."
        )
    if not texts:
        raise BadConfig(
            f"{source} has the columns {', '.join(columns[:_SHOWN])}; none is known to hold texts. Name it: "
            f"--set 'ingest.columns.alt_text=[{columns[-1]}]'."
        )
    return 1


def _columns(settings: Settings, key: str, source: Path) -> list[str]:
    try:
        (file,) = data_files(settings, key)
        return columns_of(landing_storage(settings), file)
    except BROKEN as error:
        raise BadConfig(f"{source} cannot be read: {' '.join(str(error).split())[:150]}. Deliver it again.") from error
    except BadData:
        raise BadConfig(f"{source} has no format that is known. Use Parquet, CSV, JSONL, Arrow or a tar.") from None


def _holds_bytes(source: Path, name: str) -> bool:
    if source.suffix != ".parquet":
        return False
    kind = str(pq.read_schema(source).field(name).type)
    return kind in ("binary", "large_binary") or kind.startswith("struct<bytes: binary")


def _names_files(settings: Settings, key: str, source: Path, name: str) -> bool:
    first = next((record[name] for record in _records(settings, key) if record.get(name)), None)
    return isinstance(first, str) and _beside(source, first).is_file()


def _beside(source: Path, named: str) -> Path:
    return source.parent / named  # an absolute path stays as it is


def _records(settings: Settings, key: str) -> Iterator[Mapping[str, Any]]:
    (file,) = data_files(settings, key)
    if file.format == "parquet":
        for batch in pq.ParquetFile(Path(settings.landing, file.path)).iter_batches(1000):
            yield from batch.to_pylist()
        return
    yield from (record for record in records_of(landing_storage(settings), file) if record)


def _of_column(source: Path, name: str, texts: Sequence[str]) -> Iterator[Picture]:
    number = 0
    for batch in pq.ParquetFile(source).iter_batches(100):
        for row in batch.to_pylist():
            held = row[name]
            path = held.get("path") if isinstance(held, dict) else None
            content = held["bytes"] if isinstance(held, dict) else held
            if content:
                yield Picture(Path(path or f"{number:06d}.jpg").name, content, _text(row, texts))
            number += 1


def _of_paths(settings: Settings, key: str, source: Path, name: str) -> Iterator[Picture]:
    texts = settings.ingest.columns["alt_text"]
    for record in _records(settings, key):
        if isinstance(named := record.get(name), str) and (path := _beside(source, named)).is_file():
            yield Picture(path.name, path, _text(record, texts))


def _text(record: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(record[name]) for name in names if record.get(name)), "")


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*"))
    return [path for path in found if path.is_file() and not is_hidden(str(path.relative_to(folder)))]


def _of_folder(settings: Settings, root: Path, files: Sequence[Path]) -> Iterator[Picture]:
    beside = {stem_and_ending(str(path)): path for path in files}
    for path in files:
        if not is_picture(path.name):
            continue
        stem = stem_and_ending(str(path))[0]
        known = _json(beside.get((stem, "json")))
        written = beside.get((stem, "txt"))
        text = written.read_text("utf-8", "replace").strip() if written else ""
        text = text or _text(known, settings.ingest.columns["alt_text"])
        yield Picture(str(path.relative_to(root)), path, text, known)


def _json(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes()) if path else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def lay_down(target: Path, pictures: Iterator[Picture]) -> int:
    """Lay pictures down in a folder, each with a JSON file that has its text and its SHA-256."""
    taken, number = set[str](), 0
    for number, picture in enumerate(pictures, 1):
        stem, ending = stem_and_ending(picture.name) if is_picture(picture.name) else (picture.name, "jpg")
        if stem in taken:  # a.jpg and a.png, or files of one name in several folders
            stem = f"{stem}-{number}"
        taken.add(stem)
        place = target / f"{stem}.{ending}"
        place.parent.mkdir(parents=True, exist_ok=True)
        content = picture.content
        if isinstance(content, Path):
            os.symlink(content.resolve(), place)
        else:
            place.write_bytes(content)
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        about = {**(picture.known or {}), "text": picture.text or words_of(stem), "sha256": digest}
        target.joinpath(f"{stem}.json").write_text(json.dumps(about, ensure_ascii=False), "utf-8")
    if not number:
        raise BadConfig("There is no picture in it that can be read. Name another file or folder.")
    return number


def words_of(stem: str) -> str:
    """The words of a file name: `golden-gate_bridge` as `golden gate bridge`."""
    return " ".join(re.split(r"[\W_]+", stem.rpartition("/")[2])).strip() or stem
