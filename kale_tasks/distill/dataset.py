"""The training data: committed stage-1 captions of all keys, read in blocks that are shuffled for each epoch."""

import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

from kale_tasks.lake.hashing import in_share
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.shards import Span
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.text.alttext import prepare_alt

IMAGES = "images/"  # prefix of the inputs that are images of a key
_BLOCK_ROWS = 256  # read together: neighbours in the captions are neighbours in the image shards
_CAPTION_COLUMNS = ["uid", "sha256", "alt_text", "dense_caption", "caption", "also", "facts_invented", "flags"]
_IMAGE_COLUMNS = ["sha256", "shard", "offset", "length", "width", "height"]


@dataclass(frozen=True)
class CaptionSample:
    """A stage-1 caption, the texts that it was made from, and the place of its image."""

    uid: str
    alt: str  # as stage 2 puts it into a prompt: empty if it is noise, cut before any instructions
    dense: str
    caption: str
    invented: int
    flags: Sequence[str]
    span: Span
    also: Mapping[str, str] = field(default_factory=dict)  # further texts that the recipe teaches, by pass
    size: tuple[int, int] = (1, 1)  # width and height of its image


def stage1(recipe: str) -> dict[str, Any]:
    """The slice of the stage-1 captions of a recipe."""
    return {"recipe": recipe, "stage": 1}


def stage1_keys(lake: Lake, recipe: str, key: str) -> list[str]:
    """Return the keys up to this one that have stage-1 captions of a recipe."""
    return sorted(p.key for p in lake.partitions("captions") if p.within(stage1(recipe)) and p.key <= key)


def caption_keys(inputs: Iterable[str]) -> list[str]:
    """Return the keys whose stage-1 captions are among the inputs of a training run."""
    return sorted(name for name in inputs if "/" not in name)


def variant_name(key: str, variant: str) -> str:
    """Name the captions that a variant of the recipe made for a key, among the inputs of a training run."""
    return f"{variant}/{key}" if variant else key


def variant_keys(inputs: Collection[str], variant: str) -> list[str]:
    """Return the keys whose captions by a variant of the recipe are among the inputs of a training run."""
    return sorted(key for key in caption_keys(inputs) if variant_name(key, variant) in inputs)


def is_held_out(uid: str, share: float) -> bool:
    """Whether a pair is kept for evaluation. Depends on the uid alone, so that no key or rerun can change it."""
    return in_share(f"held out {uid}", share)


class CaptionDataset:
    """The stage-1 captions of some keys as numbered blocks of rows."""

    def __init__(self, captions: Sequence[Snapshot], images: Sequence[Snapshot]) -> None:
        self._captions, self._images = captions, images
        self._ends = list(accumulate(-(-rows.count // _BLOCK_ROWS) for rows in self._captions))

    @classmethod
    def open(cls, lake: Lake, recipe: str, keys: Sequence[str]) -> "CaptionDataset":
        """Open what is committed of a recipe for some keys."""
        captions = [Snapshot.open(lake, Partition.of("captions", key, stage1(recipe))) for key in keys]
        return cls(captions, [Snapshot.open(lake, Partition("images", key)) for key in keys])

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return self._ends[-1] if self._ends else 0

    def pools(self, seed: int, epoch: int, pool_rows: int) -> list[list[int]]:
        """Shuffle the blocks for an epoch and group them into pools of about `pool_rows` rows."""
        import numpy as np

        order = np.random.default_rng([seed, epoch]).permutation(self.blocks).tolist()
        size = max(1, pool_rows // _BLOCK_ROWS)
        return [order[at : at + size] for at in range(0, len(order), size)]

    def read(self, block: int) -> Iterator[CaptionSample]:
        """Yield the captions of a block whose image is stored and still the one that was captioned."""
        at = bisect_right(self._ends, block)
        start = (block - (self._ends[at - 1] if at else 0)) * _BLOCK_ROWS
        captions = self._captions[at].read(start, start + _BLOCK_ROWS, _CAPTION_COLUMNS).to_pylist()
        if not captions:
            return
        images = self._images[at].between(captions[0]["uid"], captions[-1]["uid"], _IMAGE_COLUMNS).to_pylist()
        stored = {(image["uid"], image["sha256"]): image for image in images if image["shard"]}
        for row in captions:
            if image := stored.get((row["uid"], row["sha256"])):
                yield _sample(row, image)


@lru_cache(1 << 15)  # the next epoch needs it again, and it takes longer than to encode the whole example
def _useful_alt(alt: str | None) -> str:
    return prepare_alt(alt).useful


def _sample(row: dict[str, Any], image: dict[str, Any]) -> CaptionSample:
    return CaptionSample(
        uid=row["uid"],
        alt=_useful_alt(row["alt_text"]),
        dense=row["dense_caption"] or "",
        caption=row["caption"] or "",
        invented=row["facts_invented"] or 0,
        flags=row["flags"] or (),
        span=Span(image["shard"], image["offset"], image["length"]),
        also=json.loads(row["also"] or "{}"),
        size=(image["width"] or 1, image["height"] or 1),
    )
