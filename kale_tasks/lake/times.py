"""Times as the lake stores them."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the present time in UTC as ISO 8601 text, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
