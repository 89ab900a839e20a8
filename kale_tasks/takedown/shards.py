"""Takes images out of tar shards: a shard without them is written beside the old one."""

import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kale_tasks.lake.shards import TarWriter
from kale_tasks.lake.tables import Lake

_BLOCK = 1 << 26


@dataclass(frozen=True)
class NewShard:
    """A rewritten shard, and where each image that is left begins in it, by where it began before."""

    path: str
    offsets: Mapping[int, int]


def without(lake: Lake, shard: str, offsets: set[int], folder: str) -> NewShard:
    """Write a shard without the images that begin at these offsets, nor any file that shares their name."""
    with tempfile.TemporaryDirectory() as place:
        old, new = _fetched(lake, shard, Path(place, "old.tar")), Path(place, "new.tar")
        with tarfile.open(old) as source:
            members = source.getmembers()
        gone = {PurePosixPath(m.name).stem for m in members if m.offset_data in offsets}
        moved: dict[int, int] = {}
        with old.open("rb") as data, TarWriter(new) as target:
            for member in members:
                if PurePosixPath(member.name).stem not in gone:
                    data.seek(member.offset_data)
                    moved[member.offset_data] = target.add(member.name, data.read(member.size))
        path = f"{folder}/{PurePosixPath(shard).name}"
        lake.storage.put(path, new)
    return NewShard(path, moved)


def _fetched(lake: Lake, path: str, to: Path) -> Path:
    with to.open("wb") as file:
        while block := lake.storage.read(path, file.tell(), _BLOCK):
            file.write(block)
            if len(block) < _BLOCK:
                break
    return to
