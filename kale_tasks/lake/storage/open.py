"""Opens the storage that an address names."""

from kale_tasks.errors import BadConfig
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.cloud import SCHEMES, CloudStorage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.storage.s3 import S3Storage
from kale_tasks.settings.model import S3


def open_place(address: str, s3: S3) -> Storage:
    """Open a place for releases: whatever may hold a lake, gs://bucket/prefix or az://container/prefix."""
    if address.partition("://")[0] in SCHEMES:
        return CloudStorage(address)
    return open_storage(address, s3)


def open_storage(root: str, s3: S3) -> Storage:
    """Open the storage of an address: s3://bucket/prefix, or a folder. BadConfig for any other."""
    if root.startswith("s3://"):
        return S3Storage(root, s3)
    if "://" in root and not root.startswith("file://"):
        raise BadConfig(f"'{root}' cannot hold a lake. Use a folder or s3://bucket/prefix.")
    return FolderStorage(root.removeprefix("file://"))
