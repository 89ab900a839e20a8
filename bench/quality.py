"""What a check costs: ours beside bare Great Expectations on the same expectations and rows, by engine.

python bench/quality.py --rows 100000 --out bench/quality.md
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import examine
from kale_tasks.quality.expectations import columns_of, on_figures, on_rows
from kale_tasks.quality.frames import ArrowFrames
from kale_tasks.quality.spark_frames import SparkFrames
from kale_tasks.quality.suite import Subject
from kale_tasks.quality.suites import find_suite
from kale_tasks.runner.run import Run, execute
from kale_tasks.settings import Settings, load

KEY = "bench"
Kind = type[ArrowFrames] | type[SparkFrames]


class Pairs(Step):
    """Commits clean pairs in bulk."""

    name, table = "ingest", "pairs"

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"rows": self.rows}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, self.rows)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            rows = [_pair(i) for i in range(start, stop)]
            yield Part(number, pa.Table.from_pylist(rows, schema=TABLES["pairs"].arrow), len(rows))


def _pair(i: int) -> dict[str, Any]:
    text = f"Harbour number {i} at the old town of Rovik, photographed in {1900 + i % 120} by a walker"
    draw = (i * 2654435761) % 1000
    split = "holdout" if draw < 10 else "stage1" if draw < 470 else "stage2"
    known = {"uid": f"{i:032x}", "key": KEY, "alt_text": text, "text": text, "split": split, "dup_count": 1}
    return {**known, "url": f"https://a.example.org/{i}.jpg", "width": 640, "height": 480, "sha256": f"{i:064x}"}


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock and of the processor, of this process; Spark's JVM is not in the latter."""

    wall: float
    cpu: float


def spent(work: Callable[[], Any]) -> Spent:
    """What a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def contenders(subject: Subject, kind: Kind) -> dict[str, Callable[[], None]]:
    """The check, Great Expectations on the same rows from the lake, and on a frame that is in the engine already."""
    expectations, figures = subject.suite.expect(), examine(subject).figures
    columns, limits = columns_of(expectations), subject.suite.limits(subject)
    standing = kind(subject).frame(columns)

    def bare(frame: Any) -> None:
        on_rows(expectations, frame, kind.engine)
        on_figures(limits, figures)

    return {
        "check": lambda: (examine(subject), None)[1],
        "bare, from the lake": lambda: bare(kind(subject).frame(columns)),
        "bare, frame at hand": lambda: bare(standing),
    }


def measure(subject: Subject, kind: Kind, tries: int) -> Iterator[str]:
    """A line of the table for each contender, the best of several tries taken by turns."""
    engine = {"quality": subject.settings.quality.model_copy(update={"engine": kind.engine})}
    of = Subject(subject.lake, subject.settings.model_copy(update=engine), subject.suite, KEY)
    runs = contenders(of, kind)
    taken = [{name: spent(run) for name, run in runs.items()} for _ in range(tries)]
    best = {name: min((t[name] for t in taken), key=lambda s: s.cpu) for name in runs}
    for name, one in best.items():
        wall, cpu = best["check"].wall / one.wall, best["check"].cpu / one.cpu
        yield f"| {kind.engine} | {name} | {one.wall:.2f} | {one.cpu:.2f} | {wall:.2f} | {cpu:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/quality.md"))
    parser.add_argument("--no-spark", action="store_true")
    asked = parser.parse_args()
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        names = [f"warehouse={folder}/lake", f"landing={folder}", "parts.part_rows=5000", "parts.chunk_rows=100000"]
        settings = load(names, environ={}).settings
        lake = Lake(settings)
        step = spent(lambda: execute(Run(cast("Step", Pairs(asked.rows)), lake, settings, KEY)))
        subject = Subject(lake, settings, find_suite("ingest"), KEY)
        kinds: list[Kind] = [ArrowFrames] if asked.no_spark else [ArrowFrames, SparkFrames]
        lines = [line for kind in kinds for line in measure(subject, kind, asked.tries)]
    checks = len(subject.suite.expect())
    asked.out.write_text(_PAGE.format(rows=asked.rows, checks=checks, lines="\n".join(lines), step=step.wall))
    print(asked.out.read_text())


_PAGE = """# What a check costs

`python bench/quality.py --rows {rows}`, 2 cores, 24 GB. The check of `pairs`: {checks} expectations on rows, and bounds
on figures. *Check* is all of it: footers and order of files, rows read, derived columns, queries, drift, expectations.
*Bare* is Great Expectations on the same expectations: with the rows read from the lake and the derived columns
computed, or with a frame that stands in memory already; in both the figures are known. Seconds; the best of the tries.
CPU seconds are of the Python process: Spark's JVM is not in them.

| engine | what | wall s | CPU s | check over it, wall | check over it, CPU |
|---|---|---|---|---|---|
{lines}

For scale: writing these rows (no cleaning, no deduplication, nothing fetched or generated) took {step:.1f} s.
"""

if __name__ == "__main__":
    main()
