"""Images that must not be stored: those that were taken down, and known bad content of a list of the operator's own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kale_tasks.errors import BadConfig
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import TAKEDOWN, matcher

KNOWN_BAD = "known_bad"  # the rule under which such images are counted
_SHA256, _PHASH = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{16}")


class RefusedImages:
    """Knows which images must not be stored, by what was received: its hashes and the address it came from."""

    def __init__(self, lake: Lake) -> None:
        settings = lake.settings.images
        self._takedowns, self._near_bits = matcher(lake), settings.near_bits
        lines = _lines(lake, settings.known_bad) if settings.known_bad else []
        self._sha256 = {line for line in lines if _SHA256.fullmatch(line)}
        self._phash = np.array([int(line, 16) for line in lines if _PHASH.fullmatch(line)], dtype=np.uint64)

    def rules(self, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Return for each row of `images` the rule that drops it, if any."""
        if not self._takedowns.content and not self._sha256 and not self._phash.size:
            return [None] * len(rows)
        names = ("uid", "final_url", "sha256")
        table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
        table = table.append_column("phash", pa.array([row.get("phash") for row in rows], pa.int64()))
        taken_down = self._takedowns.matches(table).to_pylist()
        found = zip(rows, taken_down, strict=True)
        return [TAKEDOWN if taken else KNOWN_BAD if self._known_bad(row) else None for row, taken in found]

    def _known_bad(self, row: Mapping[str, Any]) -> bool:
        if row["status"] != "ok":
            return False
        phash = np.array([row["phash"]], dtype=np.int64).view(np.uint64)
        near = np.bitwise_count(self._phash ^ phash) <= self._near_bits
        return row["sha256"] in self._sha256 or bool(near.any())


def _lines(lake: Lake, path: str) -> list[str]:
    """Read the list; BadConfig if it is missing or has a line that is no hash, which is not quoted."""
    storage = landing_storage(lake.settings)
    try:
        text = storage.read(path).decode("ascii", "replace")
    except FileNotFoundError as error:
        raise BadConfig(
            f"images.known_bad: {storage.uri(path)} does not exist. Put the list there, or null."
        ) from error
    lines = [line.partition("#")[0].strip().lower() for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if line and not _SHA256.fullmatch(line) and not _PHASH.fullmatch(line):
            raise BadConfig(f"images.known_bad: line {number} is neither a SHA-256 nor a perceptual hash of 16 digits.")
    return [line for line in lines if line]
