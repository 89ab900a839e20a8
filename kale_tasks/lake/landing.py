"""The landing area: source files delivered from outside, in one folder (or prefix) per key."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import MANIFEST, MARKER, check_key
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.storage.linked import LinkedFolderStorage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.settings.model import S3, Settings

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 12
_PICTURES = frozenset(
    {"jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"}
)  # endings, as archives name them; what a file holds is read from its first bytes
BESIDE = frozenset({"json", "txt"})  # endings of the files that describe a picture of the same name
_PLACES = "https://landing.invalid/"  # a host that never exists: nothing can be fetched from it


def landing_storage(settings: Settings) -> Storage:
    """Open the storage that holds the landing files."""
    return _opened(settings.landing, settings.s3)


@lru_cache(maxsize=8)  # a client of S3 takes a tenth of a second, and status asks for each key
def _opened(landing: str, s3: S3) -> Storage:
    storage = open_storage(landing, s3)
    return LinkedFolderStorage(storage.root) if isinstance(storage, FolderStorage) else storage


def landing_keys(settings: Settings) -> list[str]:
    """List the keys that have a folder in the landing area, without hidden folders."""
    folders = {entry.path.split("/", 1)[0] for entry in landing_storage(settings).entries("") if "/" in entry.path}
    return sorted(folder for folder in folders if not is_hidden(folder))


def landing_files(settings: Settings, key: str) -> list[Entry]:
    """List the files that have landed for a key, sorted by path, without hidden files.

    The landing sensor, status, image adoption and ingest all use this list, so they agree on what has landed.
    """
    entries = landing_storage(settings).entries(check_key(key))
    return sorted((entry for entry in entries if not is_hidden(entry.path)), key=lambda entry: entry.path)


def stem_and_ending(path: str) -> tuple[str, str]:
    """Split a path at its last dot; the ending is in lower case. Files of one sample have one stem."""
    stem, _, ending = path.rpartition(".")
    return stem, ending.lower()


def is_picture(path: str) -> bool:
    """Tell whether the name of a file is that of a picture."""
    return stem_and_ending(path)[1] in _PICTURES


def place_url(stem: str) -> str:
    """Return the URL of a picture whose source gives it none: where it has landed, as a path without its ending.

    The path may come from a tar whose names are not UTF-8; Python reads their bytes as surrogates.
    """
    return _PLACES + quote(str(PurePosixPath(stem)), errors="surrogateescape")


def is_complete(settings: Settings, key: str, entries: Sequence[Entry]) -> bool | None:
    """Tell whether all landing files of a key have come; None if the source says nothing about it.

    It says so by an empty file `_SUCCESS`, or by `_MANIFEST.json` with the size of each file in bytes:
    `{"files": {"part-0.parquet": 1048576}}`.
    """
    landing = landing_storage(settings)
    if landing.exists(f"{key}/{MARKER}"):
        return True
    if not landing.exists(f"{key}/{MANIFEST}"):
        return None
    try:
        listed = {
            f"{key}/{name}": int(size) for name, size in json.loads(landing.read(f"{key}/{MANIFEST}"))["files"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise BadConfig(
            f'{MANIFEST} of {key} cannot be read. It must be like {{"files": {{"a.csv": 1024}}}}.'
        ) from error
    sizes = {entry.path: entry.size for entry in entries}
    return all(sizes.get(path) == size for path, size in listed.items())


def is_hidden(path: str) -> bool:
    """Tell whether any component of a path starts with `_` or `.`, such as in `_temporary/0/part-0.parquet`.

    Writers use such names for work in progress, markers and caches, never for finished data.
    """
    return any(name.startswith(("_", ".")) for name in path.split("/"))


def link_files(settings: Settings, source: Path, key: str) -> int:
    """Link the visible files of a folder into the landing as those of a key, mark it complete, and count them.

    Nothing is copied. Links that are there already stay, so that an interrupted call can be repeated.
    """
    landing, root = landing_storage(settings), source.resolve()
    if not isinstance(landing, FolderStorage):
        place = landing.uri(check_key(key))
        raise BadConfig(f"Files can be linked into a folder only. Copy those of {source} to {place}/ instead.")
    target = Path(landing.root, check_key(key))
    if root.is_relative_to(Path(landing.root).resolve()):
        raise BadConfig(f"{source} is in the landing already. Name its key to the commands: `kale landing check KEY`.")
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not is_hidden(str(path.relative_to(root)))]
    if not files:
        raise BadConfig(f"There are no files in {source}. Name the folder with the tars, tables or pictures.")
    links = {target / path.relative_to(root): path for path in files}
    others = [entry.path for entry in landing_files(settings, key) if Path(landing.root, entry.path) not in links]
    if taken := [path for path, file in links.items() if os.path.lexists(path) and path.resolve() != file] or others:
        raise BadConfig(f"{key} has landing files from elsewhere, such as {taken[0]}. Choose another key.")
    # Links are as old as their files: without a list of them, a scheduled run could take the first ones for all.
    sizes = {str(link.relative_to(target)): file.stat().st_size for link, file in links.items()}
    landing.put(f"{key}/{MANIFEST}", json.dumps({"files": sizes}).encode())
    for link, file in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(link):
            link.symlink_to(file)
    landing.put(f"{key}/{MARKER}", b"")
    return len(links)


def sampled_content(landing: Storage, entries: Sequence[Entry]) -> str:
    """Return a hash of files that are too large to be read whole each time: it changes when one of them is replaced.

    S3 knows a hash of each content. In a folder, the size, the time of the last change and samples of each file count.
    """
    with ThreadPoolExecutor(8) as pool:
        known = list(pool.map(lambda entry: [entry.path, entry.size, _sampled(landing, entry)], entries))
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:20]


def _sampled(landing: Storage, entry: Entry) -> str:
    if not isinstance(landing, FolderStorage):
        return str(landing.tag(entry.path))
    known = hashlib.sha256(entry.modified.isoformat().encode())
    if entry.size <= _SAMPLES * _SAMPLE_BYTES:
        known.update(landing.read(entry.path))
        return known.hexdigest()
    for number in range(_SAMPLES):
        known.update(landing.read(entry.path, entry.size * number // _SAMPLES, _SAMPLE_BYTES))
    return known.hexdigest()
