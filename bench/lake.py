"""The lake beside bare pyiceberg: a commit of many parts, a run that is committed already, a plan over many rows.

    python -m bench.lake --parts 1000 --rows 100000 10000000

The table goes to bench/lake.md.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table

from bench.frame import Page, process
from kale_tasks.bench.measure import Sample, Series, in_turns, ratio, timed
from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit, execute, plan, work
from kale_tasks.settings import Settings, load

KEY = "k"
PART_ROWS = 20


class Pairs(Step):
    """Commits plain pairs in bulk; the columns that a page gives, the others null."""

    name, table = "ingest", "pairs"

    def __init__(self, rows: int, salt: str = "") -> None:
        self.rows, self.salt = rows, salt

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"rows": self.rows, "salt": self.salt, **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, self.rows)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for number in numbers:
            span = range(*part_span(run.settings, chunk, number))
            texts = [f"{self.salt} {i}" for i in span]
            columns = {
                "uid": [f"{i:032x}" for i in span], "key": [run.key] * len(span), "split": ["stage1"] * len(span),
                "url": [f"https://a.example/{i}.jpg" for i in span], "alt_text": texts, "text": texts,
            }  # fmt: skip
            yield Part(number, pa.table(columns), len(span))


Row = tuple[object, ...]


def commits(page: Page, place: Path, parts: int, times: int) -> Iterator[Row]:
    """Commit the same part files to two tables, in turns: first into an empty key, then in place of existing rows."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    for i in range(times):
        settings = settings_of(place / f"commit-{i}", PART_ROWS, parts * PART_ROWS)
        lake = Lake(settings)
        bare = bare_table(place / f"commit-{i}", lake.table("pairs"))
        for kind, salt in (("into an empty key", "old"), ("in place of as many", "new")):
            run = Run(Pairs(parts * PART_ROWS, salt), lake, settings, KEY)
            made = plan(run)
            for chunk in made.chunks:
                work(run, chunk)
            paths = [lake.storage.uri(receipt.files["pairs"].path) for receipt in run.receipts().values()]
            acts = [("bare", partial(add, bare, paths, replace=salt == "new")), ("ours", partial(commit, run, made))]
            for name, act in acts[:: 1 if i % 2 else -1]:
                samples.setdefault((kind, name), []).append(timed(act))
    for kind, name in (("into an empty key", "new_key"), ("in place of as many", "replace")):
        base, ours = Series(samples[kind, "bare"]), Series(samples[kind, "ours"])
        page.ratio(f"commit_{name}_wall", ratio(base, ours, lambda sample: sample.wall))
        page.ratio(f"commit_{name}_cpu", ratio(base, ours, lambda sample: sample.cpu))
        yield f"bare pyiceberg: {parts} files {kind}", *base.cells, "`add_files`, nothing checked"
        yield f"`commit`: the same {kind}", *ours.cells, "also checks every part, writes the ledger"


def add(table: Table, paths: list[str], *, replace: bool) -> None:
    """Do to the table what `commit` does, by the library's own methods."""
    with table.transaction() as change:
        if replace:
            change.delete(EqualTo(term="key", value=KEY))
        change.add_files(paths, check_duplicate_files=False)


def reruns(place: Path, times: int) -> Iterator[Row]:
    """`kale run` on a key that is committed, beside an interpreter that does nothing and one that only imports."""
    landing, warehouse = place / "landing", place / "rerun"
    kale = [sys.executable, "-m", "kale_tasks"]
    subprocess.run([*kale, "sample", "make", "--pairs", "1000", "--keys", "1", "--out", str(landing)], check=True)
    sets = ["--set", f"landing={landing}", "--set", f"warehouse={warehouse}", "--set", "ingest.part_rows=10"]
    subprocess.run([*kale, "init", *sets], check=True)
    command = [*kale, "run", "ingest", "--key", "2026-11-01", *sets]
    subprocess.run(command, check=True)
    before = listing(warehouse)
    imports = "import kale_tasks.cli.app, kale_tasks.runner.run, kale_tasks.ingest.step, pyiceberg.catalog.sql"
    commands = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "the imports of a run, nothing else": [sys.executable, "-c", imports],
        "`kale run ingest` on a committed key": command,
    }
    found = in_turns({name: lambda c=c: process(c)[0] for name, c in commands.items()}, times)
    changed = listing(warehouse).items() ^ before.items()
    notes = ["", "", f"{sum(size for _, (size, _) in changed)} bytes in {len(changed)} files written"]
    for (name, series), note in zip(found.items(), notes, strict=True):
        yield name, *series.cells, note


def plans(place: Path, sizes: Sequence[int], times: int) -> Iterator[Row]:
    """`kale plan images` over committed pairs: time and memory of the process by the number of rows."""
    for rows in sizes:
        settings = settings_of(place / f"plan-{rows}", 20_000, 1_000_000)  # parts as large as ingest makes them
        execute(Run(Pairs(rows), Lake(settings), settings, KEY))
        sets = [f"warehouse={settings.warehouse}", f"landing={place}/none", "images.evaluation=null"]
        sets += ["parts.part_rows=500", "parts.chunk_rows=50000"]
        command = [sys.executable, "-m", "kale_tasks", "plan", "images", "--key", KEY]
        command += [word for text in sets for word in ("--set", text)]
        series = in_turns({"plan": lambda c=command: process(c)[0]}, times)["plan"]
        yield f"`kale plan images` over {rows:,} pairs", *series.cells, f"{series.peak_mb:.0f} MB"


def settings_of(folder: Path, part_rows: int, chunk_rows: int) -> Settings:
    """A lake in a folder."""
    sets = [f"warehouse={folder}", f"parts.part_rows={part_rows}", f"parts.chunk_rows={chunk_rows}"]
    return load(sets, environ={}).settings


def bare_table(folder: Path, like: Table) -> Table:
    """An Iceberg table of the same columns and partition behind a SQLite catalog of its own."""
    catalog = load_catalog("bare", type="sql", uri=f"sqlite:///{folder}/bare.db", warehouse=f"{folder}/bare")
    catalog.create_namespace("bare")
    name = "schema.name-mapping.default"
    properties = {name: like.properties[name]}
    return catalog.create_table("bare.pairs", like.schema(), partition_spec=like.spec(), properties=properties)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    found = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in found}


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is removed at the end."""
    place = Path(tempfile.mkdtemp(prefix="kale-bench-"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def main() -> None:
    """Write all three to one page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parts", type=int, default=1000, help="files of a commit")
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 10_000_000], help="committed rows of a plan")
    options.add_argument("--times", type=int, default=5, help="rounds")
    given = options.parse_args()
    page = Page("lake", "Lake", "By `python -m bench.lake`: a folder and SQLite. A ratio is bare pyiceberg's time "
                "divided by ours.", ["pyiceberg", "pyarrow"])  # fmt: skip
    with scratch() as place:
        rows = [
            *commits(page, place, given.parts, given.times),
            *reruns(place, given.times),
            *plans(place, given.rows, given.times),
        ]
    page.table(["what", "wall s", "CPU s", "machine", "note"], rows)
    page.write()


if __name__ == "__main__":
    main()
