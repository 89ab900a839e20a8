"""The landing area: source files delivered from outside, in one folder (or prefix) per key."""

from kale_tasks.lake.keys import check_key
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.settings.model import Settings


def landing_storage(settings: Settings) -> Storage:
    """Open the storage that holds the landing files."""
    return open_storage(settings.landing, settings.s3)


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


def is_hidden(path: str) -> bool:
    """Tell whether any component of a path starts with `_` or `.`, such as in `_temporary/0/part-0.parquet`.

    Writers use such names for work in progress, markers and caches, never for finished data.
    """
    return any(name.startswith(("_", ".")) for name in path.split("/"))
