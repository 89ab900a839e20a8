"""Keys: the names of partitions, safe as folder names."""

import re

from kale_tasks.errors import BadConfig

ALL_KEYS = "all"  # the key of what is made from all keys; as text it comes after every date
MARKER = "_SUCCESS"  # beside landing files: their source says that they are complete
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_key(key: str) -> str:
    """The key itself, if it can name a partition."""
    if not _KEY.fullmatch(key) or ".." in key:
        raise BadConfig(f"'{key[:80]}' cannot be a key. Use letters, digits, '.', '_' and '-', such as 2026-11-01.")
    return key
