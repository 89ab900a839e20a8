"""Where lessons come from: the committed captions of all keys, in blocks that are read in shuffled order."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from kale_tasks.lake.shards import Span
from kale_tasks.lake.snapshot import Rows
from kale_tasks.lake.tables import Lake
from kale_tasks.text.alttext import prepare_alt

STAGE1 = {"stage": 1}
_BLOCK = 256  # rows read together: neighbours in the captions are neighbours in the shards
_CAPTION = ["uid", "sha256", "alt_text", "dense_caption", "caption", "facts_invented", "flags"]
_IMAGE = ["sha256", "shard", "offset", "length"]


@dataclass(frozen=True)
class Taught:
    """A stage-1 caption, its sources, and where its picture is."""

    uid: str
    alt: str  # as a prompt gets it: nothing of what is noise, nothing that gives orders
    dense: str
    caption: str
    invented: int
    flags: Sequence[str]
    span: Span


def taught_keys(lake: Lake, key: str) -> list[str]:
    """The keys up to this one that have stage-1 captions."""
    names = (name.partition("/") for name in lake.partitions("captions"))
    return sorted(found for found, _, slice_ in names if slice_ == "stage=1" and found <= key)


def held_out(uid: str, share: float) -> bool:
    """Whether a pair is never learned from: decided by its uid alone, so that no key can change it."""
    return int.from_bytes(hashlib.sha256(f"held out {uid}".encode()).digest()[:8]) < share * 2**64


class Source:
    """The captions of some keys as numbered blocks."""

    def __init__(self, lake: Lake, keys: Sequence[str]) -> None:
        self._captions = [Rows(lake, "captions", key, STAGE1) for key in keys]
        self._images = [Rows(lake, "images", key) for key in keys]
        self._ends = list(accumulate(-(-rows.count // _BLOCK) for rows in self._captions))

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return self._ends[-1] if self._ends else 0

    def pools(self, seed: int, epoch: int, pool_rows: int) -> list[list[int]]:
        """The blocks in an order of their own for each epoch, some for each pool."""
        import numpy as np

        order = np.random.default_rng([seed, epoch]).permutation(self.blocks).tolist()
        size = max(1, pool_rows // _BLOCK)
        return [order[at : at + size] for at in range(0, len(order), size)]

    def read(self, block: int) -> Iterator[Taught]:
        """The captions of a block whose picture stands."""
        at = bisect_right(self._ends, block)
        start = (block - (self._ends[at - 1] if at else 0)) * _BLOCK
        captions = self._captions[at].read(start, start + _BLOCK, _CAPTION).to_pylist()
        if not captions:
            return
        images = self._images[at].between(captions[0]["uid"], captions[-1]["uid"], _IMAGE).to_pylist()
        found = {(image["uid"], image["sha256"]): image for image in images if image["shard"]}
        for row in captions:
            if image := found.get((row["uid"], row["sha256"])):
                yield _taught(row, image)


def _taught(row: dict[str, Any], image: dict[str, Any]) -> Taught:
    return Taught(
        uid=row["uid"],
        alt=prepare_alt(row["alt_text"]).useful,
        dense=row["dense_caption"] or "",
        caption=row["caption"] or "",
        invented=row["facts_invented"] or 0,
        flags=row["flags"] or (),
        span=Span(image["shard"], image["offset"], image["length"]),
    )
