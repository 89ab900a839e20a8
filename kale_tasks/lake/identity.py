"""The identity of a lake: `lake.json` holds its uuid, its layout version and the place it was created at."""

import json
import os
import uuid
from dataclasses import asdict, dataclass

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.storage.base import Storage

LAKE_FILE = "lake.json"
LAYOUT = 2  # 1 had a table for dense captions, and captions and students of one recipe


@dataclass(frozen=True)
class Identity:
    """What `lake.json` says."""

    uuid: str
    layout: int
    place: str  # real path of a folder, or s3://bucket/prefix

    def as_bytes(self) -> bytes:
        """Return the content of `lake.json`."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def new_identity(place: str) -> Identity:
    """Return an identity with a uuid that no other lake has."""
    return Identity(str(uuid.uuid4()), LAYOUT, place)


def real_place(warehouse: str) -> str:
    """Return the address of a warehouse that is the same for every way to reach it: symbolic links are resolved."""
    if "://" in warehouse and not warehouse.startswith("file://"):
        return warehouse.rstrip("/")
    return os.path.realpath(warehouse.removeprefix("file://"))


def read_identity(storage: Storage) -> Identity | None:
    """Read `lake.json`; None if there is none. BadConfig if a newer version wrote it, BadData if it is damaged."""
    try:
        text = storage.read(LAKE_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = json.loads(text)
        identity = Identity(str(found["uuid"]), int(found["layout"]), str(found["place"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{storage.uri(LAKE_FILE)} is damaged. Restore it from a backup.") from error
    if identity.layout > LAYOUT:
        raise BadConfig(f"A newer version of KALE wrote the lake {storage.root}. Upgrade this one.")
    if identity.layout < LAYOUT:
        raise BadConfig(
            f"The lake {storage.root} has the layout {identity.layout} of a preview version of KALE, and this version "
            f"needs {LAYOUT}. Make it again in another warehouse from the same landing files; see docs/upgrading.md."
        )
    return identity


def checked_identity(storage: Storage) -> Identity | None:
    """Read `lake.json` and raise BadConfig if the lake is at another place than the one it was created at."""
    identity = read_identity(storage)
    if identity and identity.place != storage.root:
        raise copied(storage.root, identity.place)
    return identity


def create_identity(storage: Storage) -> Identity:
    """Create `lake.json`; if another process has just created it, return that one."""
    identity = new_identity(storage.root)
    if storage.put_if(LAKE_FILE, identity.as_bytes(), None):
        return identity
    found = checked_identity(storage)
    if found is None:
        raise BadData(f"{storage.uri(LAKE_FILE)} appeared and vanished again. Look for a process that deletes files.")
    return found


def copied(place: str, origin: str) -> BadConfig:
    """Return the error for a lake whose files name another place."""
    return BadConfig(
        f"The lake in {place} was copied or moved from {origin}, and its tables still name files there. Run "
        f"`kale relocate` with the same settings to make it a lake of its own."
    )
