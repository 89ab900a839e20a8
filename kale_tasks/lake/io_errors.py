"""What a failure of a disk or a store means for a person, and what to do about it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from kale_tasks.errors import BadConfig, BadData, KaleError, Transient
from kale_tasks.lake.damage import advice

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_REFUSED = ("ACCESS_DENIED", "SIGNATURE", "INVALID_ACCESS_KEY", "NO_SUCH_BUCKET", "HTTP status 403")


def explain(error: OSError, place: object = None) -> KaleError | None:
    """The failure in words that help, if it is one that can be helped."""
    said = _said(error)
    quoted = re.search("'([^']+)'", said)  # Arrow has the path in its text only
    where = place or error.filename or (quoted[1] if quoted else "the lake")
    if error.errno in _FULL:
        return Transient(f"No space left for {where}. Free some and run again: committed data is kept.")
    if error.errno in _FORBIDDEN:
        return BadConfig(
            f"{where}: {os.strerror(error.errno or 0)}. Grant this user that right, or set another warehouse."
        )
    if "AWS Error" not in said:  # Arrow puts what a store answered into the text
        return None
    if any(word in said for word in _REFUSED):
        return BadConfig(f"The store refuses: {said}. Check bucket, access key, secret and rights.")
    return Transient(f"The store does not answer: {said}. Try again later.")


@contextmanager
def explained(place: object) -> Iterator[None]:
    """Around writing: a full or forbidden place is named."""
    try:
        yield
    except OSError as error:
        if known := explain(error, place):
            raise known from error
        raise


@contextmanager
def reading(*place: str | None) -> Iterator[None]:
    """Context manager for reads: raise BadData with the name of a file that is missing or damaged."""
    name = " ".join(part for part in place if part)
    do = advice(next((part for part in reversed(place) if part), ""))
    try:
        yield
    except FileNotFoundError as error:
        raise BadData(f"A file of {name} is gone: {_said(error)}. {do}") from error
    except (pa.ArrowInvalid, OSError) as error:
        known = explain(error) if isinstance(error, OSError) else None
        raise known or BadData(f"A file of {name} is damaged: {_said(error)}. {do}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
