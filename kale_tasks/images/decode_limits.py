"""The limits at which a decoder gave an image up: kept in its `detail`, so that a redrive knows whether they rose."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kale_tasks.images.reasons import Reason

if TYPE_CHECKING:
    from kale_tasks.settings.images import Decode  # takes longer to import than a decode process needs for the rest

_LIMITS = re.compile(r"decoded with ([0-9.e+-]+) s and ([0-9]+) MB$")


def limits(settings: "Decode") -> str:
    """Describe the limits of a decode process, as the end of a `detail`."""
    return f"decoded with {float(settings.seconds)!r} s and {settings.memory_mb} MB"


def limits_raised(row: Mapping[str, Any], settings: "Decode") -> bool:
    """Whether a failed image was lost to a limit that is larger now; also if the row does not record the limit."""
    reason, detail = Reason(row["reason"]), row["detail"] or ""
    if not reason.limited or (reason == Reason.TOO_MANY_PIXELS and "MemoryError" not in detail):
        return False
    known = _LIMITS.search(detail)
    return not known or settings.seconds > float(known[1]) or settings.memory_mb > int(known[2])
