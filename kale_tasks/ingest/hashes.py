"""64-bit hashes of values."""

import hashlib


def hash64(value: bytes) -> int:
    """A signed 64-bit hash, the same everywhere and always."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big", signed=True)
