"""The content of a key's landing files, hashed once: a record tells later processes that the files are the same."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from kale_tasks.ingest.pieces import DataFile, content_of, data_files, tag_of
from kale_tasks.lake.landing import landing_files, landing_storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.model import Settings

_SETTLED = timedelta(seconds=2)  # a file changed twice within the clock's step has the same tag both times


def landing_content(lake: Lake, settings: Settings, key: str) -> str:
    """Return the hash of a key's data files, from the record if none of them was replaced since."""
    files = data_files(settings, key)
    try:
        record = json.loads(lake.storage.read(_path(key)))
    except (FileNotFoundError, ValueError):
        record = {}
    if record and record["tags"] == _tags(settings, files):
        return str(record["content"])
    return content_of(landing_storage(settings), files)


def read_content(lake: Lake, settings: Settings, key: str) -> str:
    """Hash a key's data files, and record that. Nothing is recorded of files that were changed just now."""
    files = data_files(settings, key)
    tags = _tags(settings, files)
    content = content_of(landing_storage(settings), files)
    before = datetime.now(UTC) - _SETTLED
    # A store other than a folder is asked for the hash, so there is nothing to save.
    folder = isinstance(landing_storage(settings), FolderStorage)
    if folder and all(entry.modified < before for entry in landing_files(settings, key)):
        lake.storage.put(_path(key), json.dumps({"content": content, "tags": tags}).encode())
    return content


def _tags(settings: Settings, files: Sequence[DataFile]) -> dict[str, str]:
    landing = landing_storage(settings)
    return {file.name: tag_of(landing, file) for file in files}


def _path(key: str) -> str:
    return f"landed/{key}.json"
