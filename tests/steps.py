"""A small real step for tests of the spine: makes `pairs` from numbers, dropping and quarantining by plain rules."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part, Quarantined
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings


class Numbers(Step):
    """Numbers 0..rows: multiples of 7 are dropped, multiples of 11 quarantined, the rest kept."""

    name, table = "ingest", "pairs"
    also: tuple[str, ...] = ("dedup_index",)

    def __init__(self, rows: int = 250, salt: str = "") -> None:
        self.rows, self.salt = rows, salt

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"rows": self.rows, "salt": self.salt, **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, self.rows)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            yield self._part(run, number, range(start, stop))

    def _part(self, run: Run, number: int, values: range) -> Part:
        kept = [v for v in values if v % 7 and v % 11]
        rows = [
            {"uid": f"{v:032x}", "key": run.key, "alt_text": f"{self.salt}{v}", "text": str(v), "split": "stage1"}
            for v in kept
        ]
        index = [{"uid": r["uid"], "key": run.key, "kind": "uid", "hash": _hash(run.key + r["uid"])} for r in rows]
        return Part(
            number=number,
            rows=pa.Table.from_pylist(rows) if rows else pa.table({}),
            rows_in=len(values),
            dropped={"seven": sum(1 for v in values if v % 7 == 0)},
            quarantine=[Quarantined(f"{v:032x}", "eleven") for v in values if v % 7 and v % 11 == 0],
            also={"dedup_index": pa.Table.from_pylist(index)} if index else {},
        )


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
