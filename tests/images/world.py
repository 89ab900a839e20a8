"""Helpers for tests of the images step: a lake whose pairs have given URLs."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.images.step import Images
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings, load

KEY = "2026-11-01"


class Pairs(Step):
    """A step that writes given rows as `pairs`, in place of ingest."""

    name, table = "ingest", "pairs"

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = sorted(rows, key=lambda row: str(row["uid"]))

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"rows": hashlib.sha256(repr(self.rows).encode()).hexdigest()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, len(self.rows))

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            rows = [{"key": run.key, "split": "stage1", "alt_text": "text", **row} for row in self.rows[start:stop]]
            yield Part(number, pa.Table.from_pylist(rows), len(rows))


def uid(url: str) -> str:
    """Return the uid of the pair with this URL."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def settings(root: Path, *overrides: str) -> Settings:
    """Return settings for a lake in a folder, with loopback addresses allowed."""
    own = [f"warehouse={root}/warehouse", f"landing={root}/landing", f"images.spool={root}/spool"]
    fetch = ["contact=https://example.org/kale", "allow=['127.0.0.0/8']", "host_rate=1000", "concurrency=64"]
    small = ["images.decode.workers=1", "parts.part_rows=100", "parts.chunk_rows=400", "images.evaluation=null"]
    return load([*own, *(f"images.fetch.{f}" for f in fetch), *small, *overrides], environ={}).settings


def lake_with(of: Settings, rows: Sequence[Mapping[str, Any]]) -> Lake:
    """Create a lake whose key has these pairs."""
    lake = Lake(of)
    execute(Run(Pairs(rows), lake, of, KEY))
    return lake


def pairs_of(urls: Sequence[str]) -> list[dict[str, Any]]:
    """Return a pair for each URL."""
    return [{"uid": uid(url), "url": url} for url in urls]


def images(lake: Lake, of: Settings, *, again: str = "") -> dict[str, dict[str, Any]]:
    """Run the images step and return its rows by uid."""
    execute(Run(Images(), lake, of, KEY, again=again))
    return rows_of(lake)


def rows_of(lake: Lake) -> dict[str, dict[str, Any]]:
    """Return the committed rows by uid."""
    return {row["uid"]: row for row in lake.arrow("images", KEY).to_pylist()}
