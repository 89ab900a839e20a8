"""Finds damaged files: compares a file's bytes with the size and SHA-256 that were recorded when it was written."""

import hashlib
import re

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage

_BLOCK = 1 << 22
_NAMED = re.compile(r"-([0-9a-f]{16})\.(?:parquet|tar)$")
GONE = "gone.json"  # in a folder whose other files maintenance has deleted, because nobody used them
_KEY = re.compile(r"(?:^|/)key=([^/]+)/")


def recorded_hash(path: str) -> str:
    """Return the start of the SHA-256 that the name of a part or shard contains; empty if it contains none."""
    match = _NAMED.search(path)
    return match[1] if match else ""


def file_problem(storage: Storage, path: str, sha256: str = "", size: int | None = None) -> str:
    """Say what is wrong with a file; empty if its bytes have this hash (or begin of one) and size.

    Without a hash, the one in the file's name counts.
    """
    found, length = hashlib.sha256(), 0
    try:
        while block := storage.read(path, length, _BLOCK):
            found.update(block)
            length += len(block)
            if len(block) < _BLOCK:
                break
    except FileNotFoundError:
        return "is missing"
    if size is not None and length != size:
        return f"has {length} bytes instead of {size}"
    expected = sha256 or recorded_hash(path)
    return "" if found.hexdigest().startswith(expected) else "has other bytes than were written"


def require_intact(storage: Storage, path: str, sha256: str, size: int | None = None) -> None:
    """Raise BadData if a file has not the size and SHA-256 that were recorded."""
    if problem := file_problem(storage, path, sha256, size):
        raise BadData(f"{storage.uri(path)} {problem}. {advice(path)}")


def advice(place: str) -> str:
    """Return what to do about a damaged or missing file, from its path or its key."""
    match = _KEY.search(place)
    key = match[1] if match else place if place and "/" not in place else ""
    return f"Run `kale repair{key and f' --key {key}'}`, which makes it again, or restore the file from a backup."
