"""Short names from SHA-256, for fingerprints, contents and lists."""

import hashlib


def in_share(text: str, share: float) -> bool:
    """Whether a text belongs to a share of all texts, by its hash alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) < share * 2**64


def short_sha256(data: str | bytes, length: int = 20) -> str:
    """Return the first `length` hex digits of the SHA-256 of some bytes or of a text in UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:length]
