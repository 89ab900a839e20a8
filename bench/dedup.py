"""Deduplication side by side on the same planted texts: the whole ingest step on each engine, and bare tools.

    python -m bench.dedup --rows 200000 1000000

Each contender runs in a process of its own; its CPU seconds include its children. Writes bench/dedup.md.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.frame import Page, Sample, in_turns, process, ratio

ROOT = Path(__file__).parents[1]
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
        from kale_tasks.ingest.step import Ingest
        from kale_tasks.lake.tables import Lake
        from kale_tasks.runner.run import Run
        from kale_tasks.runner.verbs import execute
        from kale_tasks.settings import load

        own = [f"landing={folder}", f"warehouse={folder}/lake-{engine}", f"ingest.engine={engine}", "log=plain"]
        settings = load([*own, "ingest.part_rows=20000", *(f"ingest.{s}" for s in PLAIN)], environ={}).settings
        return execute(Run(Ingest(), Lake(settings), settings, KEY)).rows

    return run


def deduplication(folder: Path) -> int:
    """Of the ingest step the near duplicates alone: folding, sketches and the queries of one likeness, on DuckDB."""
    from kale_tasks.ingest.clean import FACTS, SKETCHES
    from kale_tasks.ingest.dedup import decide
    from kale_tasks.ingest.duck import DuckEngine
    from kale_tasks.ingest.engine import Query
    from kale_tasks.ingest.minhash import text_sketches
    from kale_tasks.ingest.normalize import fold, hash64
    from kale_tasks.lake.schemas import TABLES
    from kale_tasks.lake.storage.open import open_storage
    from kale_tasks.settings import load

    settings = load([f"ingest.{one}" for one in PLAIN], environ={}).settings
    engine, done = DuckEngine(settings.ingest, open_storage(str(folder), settings.s3)), 0
    with (
        pq.ParquetWriter(folder / "rows.parquet", FACTS) as rows,
        pq.ParquetWriter(folder / "text.parquet", SKETCHES["text"]) as text,
    ):
        for batch in pq.ParquetFile(folder / KEY / "a.parquet").iter_batches(16_384, columns=["text"]):
            folded = [fold(one) for one in batch["text"].to_pylist()]
            bands, sketch = text_sketches(folded, settings.ingest.dedup)
            ids = pa.array(range(done, done := done + len(folded)), pa.int64())
            hashes = pa.array([hash64(one.encode()) for one in folded])
            known = {"id": ids, "uid_hash": ids, "url_hash": ids, "text_hash": hashes, "chars": pa.repeat(1, len(ids))}
            columns = [known[f.name].cast(f.type) if f.name in known else pa.nulls(len(ids), f.type) for f in FACTS]
            rows.write_batch(pa.RecordBatch.from_arrays(columns, schema=FACTS))
            lists = pa.FixedSizeListArray.from_arrays(bands.ravel(), bands.shape[1]).cast(pa.list_(pa.int64()))
            text.write_batch(pa.RecordBatch.from_arrays([ids, lists, *sketch.T.copy()], schema=SKETCHES["text"]))
    engine.read("rows", ["rows.parquet"], FACTS)
    engine.read("text", ["text.parquet"], SKETCHES["text"])
    engine.read("meaning", [], SKETCHES["meaning"])
    engine.read("earlier", [], TABLES["dedup_index"].arrow)
    decide(engine, settings.ingest)
    return engine.fetch_number(Query("SELECT count(*) FROM decisions WHERE rule IS NULL"))


def rensa(folder: Path) -> int:
    """Bare rensa in one process: shingles as Python strings, its own LSH, the first of each group stays."""
    from rensa import RMinHash, RMinHashLSH

    from kale_tasks.ingest.normalize import fold

    index, kept = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16), 0
    for number, text in enumerate(pq.read_table(folder / KEY / "a.parquet")["text"].to_pylist()):
        folded = f" {fold(text)} "
        sketch = RMinHash(num_perm=128, seed=SEED)
        sketch.update([folded[i : i + 5] for i in range(len(folded) - 4)])
        kept += not index.query(sketch)
        index.insert(number, sketch)
    return kept


def datatrove(folder: Path) -> int:
    """datatrove's four stages in one process."""
    _peer(".venv-bench", ROOT / "bench/peers/datatrove_dedup.py", folder / KEY, folder / "datatrove")
    return sum(pq.read_metadata(path).num_rows for path in (folder / "datatrove/kept").glob("*.parquet"))


def juicer(folder: Path) -> int:
    """data-juicer's operator in one process."""
    _peer(".venv-bench-juicer", ROOT / "bench/peers/juicer_dedup.py", folder / KEY, folder / "juicer")
    return int(pq.read_metadata(folder / "juicer/kept.parquet").num_rows)


def text_dedup(folder: Path) -> int:
    """text-dedup's command, one process; shingles of two words, as alt-texts are short, and our bands."""
    out = folder / "text-dedup"
    read = ["--path", "parquet", "--data_files", folder / KEY / "a.parquet", "--split", "train", "--column", "text"]
    shape = ["--ngram", 2, "--min_length", 1, "--num_perm", 128, "--b", 16, "--r", 8, "--hash_func", "xxh3"]
    into = ["--num_proc", 1, "--batch_size", 10_000, "--cache_dir", out / "cache", "--output", out / "kept"]
    _peer(".venv-bench", "-m", "text_dedup.minhash", *read, *shape, *into)
    arrow = (out / "kept").glob("*.arrow")
    return sum(pa.ipc.open_stream(pa.memory_map(str(path))).read_all().num_rows for path in arrow)


def _peer(environment: str, *words: object) -> str:
    """What a peer says, run by the environment that `scripts/bench-env` made for it; nothing may be fetched."""
    command = [str(ROOT / environment / "bin/python"), *map(str, words)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=offline).stdout


def polars_exact(folder: Path) -> int:
    """Exact duplicates of the text alone, Polars."""
    count = f"polars.scan_parquet('{folder}/{KEY}/a.parquet').unique('text').select(polars.len()).collect().item()"
    return int(_peer(".venv-bench", "-c", f"import polars; print({count})"))


def duckdb_exact(folder: Path) -> int:
    """Exact duplicates of the text alone, DuckDB."""
    import duckdb

    found = duckdb.execute(f"SELECT count(DISTINCT text) FROM '{folder}/{KEY}/a.parquet'").fetchone()
    return int(found[0]) if found else 0


CONTENDERS: dict[str, Callable[[Path], int]] = {
    "ingest on DuckDB": step("duckdb"),
    "its deduplication alone": deduplication,
    "ingest on Spark local[*]": step("spark"),
    "bare rensa": rensa,
    "datatrove": datatrove,
    "data-juicer": juicer,
    "text-dedup": text_dedup,
    "DuckDB, exact only": duckdb_exact,
    "Polars, exact only": polars_exact,
}

UNBOUNDED = ("ingest on DuckDB", "its deduplication alone", "bare rensa")  # the others would take hours
_FEW, _MANY = 200_000, 1_000_000
_OURS = "its deduplication alone"


def measured(name: str, folder: Path, originals: int, rows: int) -> Sample:
    """Run one contender in a process of its own."""
    sample, printed = process([sys.executable, "-m", "bench.dedup", "--run", name, folder], cwd=ROOT)
    kept = int(printed.split()[-1])
    return replace(sample, figures={"kept": kept, "dropped": (rows - kept) / (rows - originals)})


def main() -> None:
    """Measure and write the page."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 200_000, 1_000_000, 5_000_000])
    options.add_argument("--only", nargs="*", default=list(CONTENDERS), help="Contenders, by their names in the table.")
    options.add_argument("--rounds", type=int, default=3, help="Rounds up to 200,000 rows; one beyond.")
    options.add_argument("--run", nargs=2)
    given = options.parse_args()
    if given.run:
        print(CONTENDERS[given.run[0]](Path(given.run[1])))
        return
    page, lines = Page("dedup", "Deduplication", _ABOUT, ["duckdb", "pyspark", "rensa"]), list[tuple[object, ...]]()
    for rows in given.rows:
        lines += compare(page, rows, [name for name in given.only if rows <= _MANY or name in UNBOUNDED], given.rounds)
    page.table(_HEADER, lines)
    page.write()


def compare(page: Page, rows: int, names: Sequence[str], rounds: int) -> Iterator[tuple[object, ...]]:
    """Measure the contenders on one size in turns; their lines of the table."""
    with tempfile.TemporaryDirectory(prefix="kale-bench-") as place:

        def run(name: str) -> Sample:
            folder = Path(tempfile.mkdtemp(dir=place))
            try:
                return measured(name, folder, _land(rows, folder), rows)
            finally:
                shutil.rmtree(folder)

        turns = {name: lambda name=name: run(name) for name in names}
        found = in_turns(turns, rounds if rows <= _FEW else 1)
    for peer in ("datatrove", "bare rensa"):
        if {peer, _OURS} <= found.keys():
            share = ratio(found[peer], found[_OURS], lambda sample: sample.cpu)
            page.ratio(f"{peer.removeprefix('bare ')}_cpu_over_ours_{rows}", share)
    for name, one in found.items():
        each = f"{one.cpu / rows * 1e6:.0f}"
        kept, dropped = f"{one.figure('kept'):,.0f}", f"{one.figure('dropped'):.4f}"
        yield f"{rows:,}", name, *one.cells, each, f"{one.peak_mb:.0f}", kept, dropped


def _land(rows: int, folder: Path) -> int:
    path = folder / KEY / "a.parquet"
    made = list(texts(rows))
    path.parent.mkdir()
    columns = {"url": [f"https://p.example/{n}.jpg" for n in range(rows)], "text": [text for text, _ in made]}
    pq.write_table(pa.table(columns), path, row_group_size=100_000)
    return len({source for _, source in made})


_HEADER = ["rows", "contender", "wall s", "CPU s", "machine", "CPU µs a row", "peak MB", "kept", "dropped"]
_ABOUT = """
By `python -m bench.dedup --rows N…`; every contender in a process of its own, in turns, on the same texts of about ten
words, of which one in ten nearly repeats another (a stop, a mark or a star more). 128 permutations in 16 bands for all
of them. *Dropped* counts the rows dropped by the rows that repeat: below 1 some were missed. Ours is the whole ingest
step with the rules off: it also repairs texts, removes exact duplicates of uid, URL and sha256, writes the table and
its index of earlier keys, and commits. A ratio is a peer's CPU time divided by that of *its deduplication alone*.
"""

if __name__ == "__main__":
    main()
