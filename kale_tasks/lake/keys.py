"""Names of keys. Dag files import this, so it must not import heavy modules."""

import re

from kale_tasks.errors import BadConfig

ALL_KEYS = "all"  # the key of what is made from all keys; as text it sorts after every date
MARKER = "_SUCCESS"  # a landing file of this name says that the source has delivered the whole key
MANIFEST = "_MANIFEST.json"  # a landing file of this name lists the files of the key with their sizes
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_key(key: str) -> str:
    """Return the key if it is safe as a partition and folder name; BadConfig otherwise."""
    if not _KEY.fullmatch(key) or ".." in key:
        raise BadConfig(f"'{key[:80]}' cannot be a key. Use letters, digits, '.', '_' and '-', such as 2026-11-01.")
    return key
