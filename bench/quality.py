"""Cost of a check: ours beside bare Great Expectations on the same expectations and rows, by engine.

python -m bench.quality --rows 100000
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa

from bench.frame import Page
from kale_tasks.bench.measure import in_turns, ratio, timed
from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import examine
from kale_tasks.quality.checkpoint import open_context
from kale_tasks.quality.expectations import check_figures
from kale_tasks.quality.frames import ArrowFrames
from kale_tasks.quality.spark_frames import SparkFrames
from kale_tasks.quality.suite import Subject
from kale_tasks.quality.suite_files import columns_of
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
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


def contenders(subject: Subject, kind: Kind) -> dict[str, Callable[[], None]]:
    """The check, Great Expectations on the same rows from the lake, and on a frame that is in the engine already."""
    expectations, figures = subject.suite.expectation_suites()["kale"], examine(subject).figures
    columns, limits = columns_of(expectations), subject.suite.limits(subject)
    in_memory = kind(subject).frame(columns)

    def bare(frame: Any) -> None:
        validate_batch(expectations, frame, kind.engine)
        check_figures(limits, figures)

    return {
        "check": lambda: (examine(subject), None)[1],
        "bare, from the lake": lambda: bare(kind(subject).frame(columns)),
        "bare, frame at hand": lambda: bare(in_memory),
    }


def validate_batch(expectations: Sequence[Any], frame: Any, engine: str) -> None:
    """What the tutorial of Great Expectations does with a data frame."""
    import great_expectations as gx

    sources = open_context().data_sources
    source: Any = sources.add_spark("rows", persist=False) if engine == "spark" else sources.add_pandas("rows")
    batch = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite(name="rows", expectations=list(expectations))
    counts = {"result_format": "BASIC", "partial_unexpected_count": 0}
    batch.get_batch({"dataframe": frame}).validate(suite, result_format=counts)


def measure(page: Page, subject: Subject, kind: Kind, tries: int) -> Iterator[tuple[object, ...]]:
    """A line of the table for each contender; the ratios are of the check's time to each bare one's."""
    engine = {"quality": subject.settings.quality.model_copy(update={"engine": kind.engine})}
    of = replace(subject, settings=subject.settings.model_copy(update=engine))
    runs = {name: lambda act=act: timed(act) for name, act in contenders(of, kind).items()}
    series = in_turns(runs, tries)
    page.ratio(f"{kind.engine}_wall", ratio(series["bare, from the lake"], series["check"], lambda s: s.wall))
    page.ratio(f"{kind.engine}_cpu", ratio(series["bare, from the lake"], series["check"], lambda s: s.cpu))
    for name, one in series.items():
        yield kind.engine, name, *one.cells


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--no-spark", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        names = [f"warehouse={folder}/lake", f"landing={folder}", "parts.part_rows=5000", "parts.chunk_rows=100000"]
        settings = load(names, environ={}).settings
        lake = Lake(settings)
        page = Page("quality", "What a check costs", _ABOUT.format(rows=given.rows), ["great-expectations", "pandas"])
        step = timed(lambda: execute(Run(cast("Step", Pairs(given.rows)), lake, settings, KEY)))
        subject = Subject.of_committed(lake, settings, "ingest", KEY)
        kinds: list[Kind] = [ArrowFrames] if given.no_spark else [ArrowFrames, SparkFrames]
        rows = [row for kind in kinds for row in measure(page, subject, kind, given.tries)]
    page.table(["engine", "what", "wall s", "CPU s", "machine"], rows)
    page.text(f"For scale: writing these rows (no cleaning, no deduplication, nothing fetched) took {step.wall:.1f} s.")
    page.write()


_ABOUT = """
`python -m bench.quality --rows {rows}`: the check of `pairs`. *Check* is all of it: footers and order of files, rows
read, derived columns, queries, drift, expectations. *Bare* is Great Expectations on the same expectations: with the
rows read from the lake and the derived columns computed, or with a frame that is in memory already. CPU seconds include
Spark's JVM. A ratio is the time of *bare, from the lake* divided by the check's.
"""

if __name__ == "__main__":
    main()
