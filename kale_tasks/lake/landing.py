"""The landing area: strangers' files, a folder or prefix a key."""

from kale_tasks.lake.keys import check_key
from kale_tasks.lake.storage.base import Entry, Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.settings.model import Settings


def landing(settings: Settings) -> Storage:
    """The storage that landing files come in by."""
    return open_storage(settings.landing, settings.s3)


def landing_keys(settings: Settings) -> list[str]:
    """Every key that has landing files; hidden folders (`_…`, `.…`) are none."""
    folders = {entry.path.split("/", 1)[0] for entry in landing(settings).entries("") if "/" in entry.path}
    return sorted(folder for folder in folders if not folder.startswith(("_", ".")))


def landing_files(settings: Settings, key: str) -> list[Entry]:
    """The landing files of a key, by name."""
    entries = landing(settings).entries(check_key(key))
    return sorted((e for e in entries if not _hidden(e.path)), key=lambda e: e.path)


def _hidden(path: str) -> bool:
    return any(name.startswith(("_", ".")) for name in path.split("/"))
