"""The lake side by side with bare pyiceberg: a commit of many parts, a run that stands already, a plan over many rows.

    python bench/lake.py --parts 1000 --rows 100000 10000000

The table goes to bench/lake.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table

from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta, part_path
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run, commit, execute, plan, work
from kale_tasks.settings import Settings, load

KEY = "k"
PART_ROWS = 20
Spent = tuple[float, float]  # wall seconds, CPU seconds


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


@dataclass(frozen=True)
class Line:
    """One measured thing."""

    what: str
    wall: float
    cpu: float
    note: str = ""

    def __str__(self) -> str:
        return f"| {self.what} | {self.wall:.2f} | {self.cpu:.2f} | {self.note} |"


def commits(place: Path, parts: int, times: int) -> Iterator[Line]:
    """The same part files into two tables, by turns; first into an empty key, then in place of what stands."""
    spent: dict[tuple[str, str], list[Spent]] = {}
    for i in range(times):
        settings = settings_of(place / f"commit-{i}", PART_ROWS, parts * PART_ROWS)
        lake = Lake(settings)
        bare = bare_table(place / f"commit-{i}", lake.table("pairs"))
        for kind, salt in (("into an empty key", "old"), ("in place of as many", "new")):
            run = Run(Pairs(parts * PART_ROWS, salt), lake, settings, KEY)
            made = plan(run)
            for chunk in made.chunks:
                work(run, chunk)
            paths = [lake.storage.uri(part_path(run.folder, n)) for n in range(parts)]
            acts = [("bare", partial(add, bare, paths, replace=salt == "new")), ("ours", partial(commit, run, made))]
            for name, act in acts[:: 1 if i % 2 else -1]:
                spent.setdefault((kind, name), []).append(measured(act))
    for kind in dict.fromkeys(kind for kind, _ in spent):
        bare_wall, bare_cpu = middle(spent[kind, "bare"])
        wall, cpu = middle(spent[kind, "ours"])
        yield Line(f"bare pyiceberg: {parts} files {kind}", bare_wall, bare_cpu, "`add_files`, nothing checked")
        ratio = f"{wall / bare_wall:.2f} of bare by wall, {cpu / bare_cpu:.2f} by CPU"
        yield Line(f"`commit`: the same {kind}", wall, cpu, f"{ratio}; also checks every part, writes the ledger")


def add(table: Table, paths: list[str], *, replace: bool) -> None:
    """What `commit` does to the table, with the library's own words."""
    with table.transaction() as change:
        if replace:
            change.delete(EqualTo(term="key", value=KEY))
        change.add_files(paths, check_duplicate_files=False)


def reruns(place: Path, times: int) -> Iterator[Line]:
    """`kale run` on a key that is committed, beside an interpreter that does nothing and one that only imports."""
    landing, warehouse = place / "landing", place / "rerun"
    kale = [sys.executable, "-m", "kale_tasks"]
    subprocess.run([*kale, "sample", "make", "--pairs", "1000", "--keys", "1", "--out", str(landing)], check=True)
    command = [*kale, "run", "ingest", "--key", "2026-11-01", "--set", f"landing={landing}"]
    command += ["--set", f"warehouse={warehouse}", "--set", "ingest.part_rows=10"]
    subprocess.run(command, check=True)
    before = standing(warehouse)
    imports = "import kale_tasks.cli.app, kale_tasks.runner.run, kale_tasks.ingest.step, pyiceberg.catalog.sql"
    idle, libraries, again = (
        middle([in_process(asked)[:2] for _ in range(times)])
        for asked in ([sys.executable, "-c", "pass"], [sys.executable, "-c", imports], command)
    )
    changed = standing(warehouse).items() ^ before.items()
    wrote = f"{sum(size for _, (size, _) in changed)} bytes in {len(changed)} files written"
    yield Line("`python -c pass`", *idle)
    yield Line("what a run imports, nothing else", *libraries, "nearly all of it Arrow, pandas, SQLAlchemy, pyiceberg")
    yield Line("`kale run ingest` on a committed key", *again, f"{again[0] - libraries[0]:.2f} s more; {wrote}")


def plans(place: Path, many: Sequence[int]) -> Iterator[Line]:
    """`kale plan images` over committed pairs: time and memory of the process by how many rows there are."""
    for rows in many:
        settings = settings_of(place / f"plan-{rows}", 20_000, 1_000_000)  # parts as large as ingest makes them
        execute(Run(Pairs(rows), Lake(settings), settings, KEY))
        sets = [f"warehouse={settings.warehouse}", f"landing={place}/none", "images.evaluation=null"]
        sets += ["parts.part_rows=500", "parts.chunk_rows=50000"]
        command = [sys.executable, "-m", "kale_tasks", "plan", "images", "--key", KEY]
        command += [word for text in sets for word in ("--set", text)]
        wall, cpu, peak = in_process(command)
        yield Line(f"`kale plan images` over {rows:,} pairs", wall, cpu, f"{peak:.0f} MB at most")


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


def standing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    found = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in found}


def measured(act: Callable[[], object]) -> Spent:
    """What a call takes in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_process(command: Sequence[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak megabytes of a process."""
    wall = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return time.perf_counter() - wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def middle(spent: Sequence[Spent]) -> Spent:
    """The median of each."""
    return median(wall for wall, _ in spent), median(cpu for _, cpu in spent)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes again."""
    place = Path(tempfile.mkdtemp(prefix="kale-bench-"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def main() -> None:
    """All three, into one page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parts", type=int, default=1000, help="files of a commit")
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 10_000_000], help="committed rows of a plan")
    options.add_argument("--times", type=int, default=5, help="how often each is done; the median counts")
    wanted = options.parse_args()
    with scratch() as place:
        lines = [
            *commits(place, wanted.parts, wanted.times),
            *reruns(place, wanted.times),
            *plans(place, wanted.rows),
        ]
    load_average = os.getloadavg()[1]
    head = f"# Lake\n\nBy `python bench/lake.py` on 2 cores, 24 GB, a folder and SQLite (load {load_average:.1f}).\n\n"
    table = "| what | wall s | CPU s | note |\n|---|---:|---:|---|\n"
    Path(__file__).with_suffix(".md").write_text(head + table + "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
