"""What the tests take down, and helpers that do it and look for traces."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kale_tasks.contract.registry import STEPS
from kale_tasks.lake.tombstones import Matcher
from kale_tasks.progress import Silent
from kale_tasks.runner.run import Run
from kale_tasks.takedown.sweep import take_down
from tests.release.conftest import World
from tests.release.world import Fuse, Ingest, Tars, pipeline, uid

TABLES = ("pairs", "images", "captions", "dedup_index")
REQUEST = {"uid": [uid("a", n) for n in range(6)], "url": [f"https://host{uid('b', 9)[0]}.example/{uid('b', 9)}.jpg"]}
REMOVED = [*REQUEST["uid"], uid("b", 9)]


class Blind(Ingest):
    """An ingest that read the lists before the takedown was requested."""

    def _takedowns(self, run: Run) -> Matcher:
        return Matcher()


class _Whole(Ingest):
    def __init__(self) -> None:
        super().__init__(120)


class _Fused(Fuse):
    def __init__(self, recipe: str) -> None:
        super().__init__()


# The steps of the tests as commands find them.
SPECS = [
    replace(STEPS[name].of_recipe("kale"), reference=f"{step.__module__}:{step.__name__}", suite=None)
    for name, step in (("ingest", _Whole), ("images", Tars), ("fuse", _Fused))
]


def take(it: World, **request: list[str]) -> dict[str, Any]:
    return take_down(it.lake, it.settings, request, pipeline(120), Silent())


def uids(it: World, table: str, key: str) -> list[str]:
    return sorted(it.lake.arrow(table, key)["uid"].to_pylist())


def files_with(folder: Path, needles: list[bytes]) -> list[str]:
    """Return every file below a folder whose bytes, uncompressed if compressed, contain one of these."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += str(pq.read_table(path).to_pylist()).encode() + str(pq.read_metadata(path).to_dict()).encode()
        elif path.suffix == ".db":
            data += "\n".join(sqlite3.connect(path).iterdump()).encode()
        if any(needle in data for needle in needles):
            found.append(str(path))
    return found
