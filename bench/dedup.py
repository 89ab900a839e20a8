"""Deduplication side by side on the same planted texts: the whole ingest step on each engine, and bare tools.

    python bench/dedup.py --rows 200000 1000000

Each contender runs in a process of its own; its CPU seconds include its children. The table goes to bench/dedup.md.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KEY, SEED = "k", 7
NEAR = ("{}.", "{} !", "* {}")
# All rules off: what is measured is reading, folding, sketching, deduplicating and writing.
PLAIN = [
    *("rules.min_words=null", "rules.min_chars=null", "rules.max_chars=null", "rules.max_repetition=null"),
    *("rules.max_text_urls=null", "rules.placeholder_text=false", "rules.spam=false", "rules.pii=keep"),
    *("rules.languages=[]", "lists.nsfw=null", "lists.evaluation=null"),
]


def texts(rows: int) -> Iterator[tuple[str, int]]:
    """Alt-texts of about ten words, each with the number of the text that it nearly repeats (one in ten) or its own."""
    rng = random.Random(SEED)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvwz", k=rng.randint(3, 9))) for _ in range(50_000)]
    originals: list[str] = []
    for _ in range(rows):
        if originals and rng.random() < 0.1:
            source = rng.randrange(len(originals))
            yield rng.choice(NEAR).format(originals[source]), source
        else:
            originals.append(" ".join(rng.choices(words, k=rng.randint(7, 13))))
            yield originals[-1], len(originals) - 1


def step(engine: str) -> Callable[[Path], int]:
    """The ingest step as it is, rules off."""

    def run(folder: Path) -> int:
        from kale_tasks.config import load
        from kale_tasks.ingest.step import Ingest
        from kale_tasks.lake.lake import Lake
        from kale_tasks.run import Run, execute

        own = [f"landing={folder}", f"warehouse={folder}/lake-{engine}", f"ingest.engine={engine}", "log=plain"]
        settings = load([*own, "ingest.part_rows=20000", *(f"ingest.{s}" for s in PLAIN)], environ={}).settings
        return execute(Run(Ingest(), Lake(settings), settings, KEY)).rows

    return run


def rensa(folder: Path) -> int:
    """Bare rensa in one process: shingles as Python strings, its own LSH, the first of each group stays."""
    from rensa import RMinHash, RMinHashLSH

    from kale_tasks.ingest.text import fold

    index, kept = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16), 0
    for number, text in enumerate(pq.read_table(folder / KEY / "a.parquet")["text"].to_pylist()):
        folded = f" {fold(text)} "
        sketch = RMinHash(num_perm=128, seed=SEED)
        sketch.update([folded[i : i + 5] for i in range(len(folded) - 4)])
        kept += not index.query(sketch)
        index.insert(number, sketch)
    return kept


def datatrove(folder: Path) -> int:
    """datatrove's four stages in one process, by the environment of `scripts/bench-env`."""
    here = Path(__file__).parent
    command = [here.parent / ".venv-bench/bin/python", here / "dedup_datatrove.py", folder / KEY, folder / "datatrove"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return sum(pq.read_metadata(path).num_rows for path in (folder / "datatrove" / "kept").glob("*.parquet"))


def polars_exact(folder: Path) -> int:
    """Exact duplicates of the text alone, Polars."""
    python = Path(__file__).parents[1] / ".venv-bench/bin/python"
    count = f"polars.scan_parquet('{folder}/{KEY}/a.parquet').unique('text').select(polars.len()).collect().item()"
    code = f"import polars; print({count})"
    return int(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout)


def duckdb_exact(folder: Path) -> int:
    """Exact duplicates of the text alone, DuckDB."""
    import duckdb

    found = duckdb.execute(f"SELECT count(DISTINCT text) FROM '{folder}/{KEY}/a.parquet'").fetchone()
    return int(found[0]) if found else 0


CONTENDERS: dict[str, Callable[[Path], int]] = {
    "ingest on DuckDB": step("duckdb"),
    "ingest on Spark local[*]": step("spark"),
    "bare rensa": rensa,
    "datatrove": datatrove,
    "DuckDB, exact only": duckdb_exact,
    "Polars, exact only": polars_exact,
}


def measured(name: str, folder: Path) -> dict[str, float]:
    """One contender in a process of its own."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    out = subprocess.run(
        [sys.executable, __file__, "--run", name, str(folder)], check=True, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.monotonic() - started, "cpu": cpu, **json.loads(out.stdout.splitlines()[-1])}


def main() -> None:
    """Measure and write the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, nargs="+", default=[200_000])
    options.add_argument("--only", nargs="*", default=list(CONTENDERS), help="Contenders, by their names in the table.")
    options.add_argument("--run", nargs=2)
    given = options.parse_args()
    if given.run:
        kept = CONTENDERS[given.run[0]](Path(given.run[1]))
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({"kept": kept, "peak": peak / 1024}))
        return
    lines = [
        "| rows | contender | CPU s | wall s | peak MB of one process | kept | planted originals |",
        "|" + "---|" * 7,
    ]
    for rows in given.rows:
        with tempfile.TemporaryDirectory(prefix="kale-bench-") as name:
            lines += [_line(rows, contender, Path(name)) for contender in given.only]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


def _line(rows: int, contender: str, folder: Path) -> str:
    originals = _land(rows, folder)
    found = measured(contender, folder)
    cells = [
        rows,
        contender,
        f"{found['cpu']:.1f}",
        f"{found['wall']:.1f}",
        f"{found['peak']:.0f}",
        found["kept"],
        originals,
    ]
    line = f"| {' | '.join(map(str, cells))} |"
    print(line, flush=True)
    return line


def _land(rows: int, folder: Path) -> int:
    path = folder / KEY / "a.parquet"
    made = list(texts(rows))
    if not path.exists():
        path.parent.mkdir()
        columns = {"url": [f"https://p.example/{n}.jpg" for n in range(rows)], "text": [text for text, _ in made]}
        pq.write_table(pa.table(columns), path, row_group_size=100_000)
    return len({source for _, source in made})


if __name__ == "__main__":
    main()
