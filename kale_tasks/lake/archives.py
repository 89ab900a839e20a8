"""Archives of the landing, whose images are used where they are: tars, and pictures that a file or table describes."""

from datetime import datetime

from kale_tasks.lake.landing import is_picture, landing_files, landing_storage, sampled_content
from kale_tasks.lake.pictures import described_pictures
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Committed, Lake

TARS = "tars"  # the input of `images` that is their content


def archive_files(lake: Lake, key: str) -> list[Entry]:
    """List the tars of a key, its pictures that a file or a table describes, and these files and tables, by name."""
    entries = landing_files(lake.settings, key)
    described = set(described_pictures(landing_storage(lake.settings), entries))
    return [entry for entry in entries if is_tar(entry) or entry in described]


def archives_content(lake: Lake, key: str) -> str | None:
    """Return a hash of the archives of a key; None if it has none."""
    files = archive_files(lake, key)
    return sampled_content(landing_storage(lake.settings), files) if files else None


def archives_replaced(lake: Lake, key: str, images: Committed) -> bool:
    """Whether archives that images were adopted from were replaced since.

    Only if a file is newer than the images are the archives compared. Those that are gone stop what reads them.
    """
    made = datetime.fromisoformat(images.at)
    newer = any(entry.modified > made for entry in landing_files(lake.settings, key) if _may_hold_images(entry))
    return newer and archives_content(lake, key) != images.inputs[TARS]


def is_tar(entry: Entry) -> bool:
    """Tell whether a file is named like a tar."""
    return entry.path.lower().endswith(".tar")


def _may_hold_images(entry: Entry) -> bool:
    return is_tar(entry) or is_picture(entry.path)
