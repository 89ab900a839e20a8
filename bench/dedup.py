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
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.frame import Page, process
from kale_tasks.bench.measure import Sample, in_turns, ratio
from kale_tasks.ingest.landed import Longs
from kale_tasks.settings.ingest import Ingest

ROOT = Path(__file__).parents[1]
KEY, SEED = "k", 7
_ENGLISH = """
the of and in with a on for at by old new view house garden street church river bridge mountain harbour castle red blue
green white black wooden stone small large vintage set pair front side portrait woman man children dog cat horse bird
flower tree winter summer morning evening map poster painting photograph book cover table chair lamp shirt dress shoes
car engine train ship boat kitchen recipe cake bread coffee market museum school library station park beach sunset snow
"""
NEAR = ("{}.", "{} !", "* {}")
# All rules off: what is measured is reading, folding, sketching, deduplicating and writing.
PLAIN = [
    *("rules.min_words=null", "rules.min_chars=null", "rules.max_chars=null", "rules.max_repetition=null"),
    *("rules.max_text_urls=null", "rules.placeholder_text=false", "rules.spam=false", "rules.pii=keep"),
    *("rules.languages=[]", "lists.nsfw=null", "lists.evaluation=null"),
]


def texts(rows: int, english: bool = False) -> Iterator[tuple[str, int]]:
    """Alt-texts of about ten words, each with the number of the text that it nearly repeats (one in ten) or its own.

    The words are random letters; or every second one is English, so that the rules of language see what they are for.
    """
    rng = random.Random(SEED)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvwz", k=rng.randint(3, 9))) for _ in range(50_000)]
    common = words if not english else _ENGLISH.split() * (len(words) // len(_ENGLISH.split()))
    originals: list[str] = []
    for _ in range(rows):
        if originals and rng.random() < 0.1:
            source = rng.randrange(len(originals))
            yield rng.choice(NEAR).format(originals[source]), source
        else:
            originals.append(" ".join(rng.choices(words + common if english else words, k=rng.randint(7, 13))))
            yield originals[-1], len(originals) - 1


def step(engine: str, rules: bool = False) -> Callable[[Path], int]:
    """The ingest step as it is, rules off or as shipped."""

    def run(folder: Path) -> int:
        from kale_tasks.ingest.step import Ingest
        from kale_tasks.lake.tables import Lake
        from kale_tasks.runner.run import Run
        from kale_tasks.runner.verbs import execute
        from kale_tasks.settings import load

        own = [f"landing={folder}", f"warehouse={folder}/lake-{engine}", f"ingest.engine={engine}", "log=plain"]
        sets = [*own, "ingest.part_rows=20000", *(f"ingest.{one}" for one in (PLAIN[-1:] if rules else PLAIN))]
        settings = load(sets, environ={}).settings
        return execute(Run(Ingest(), Lake(settings), settings, KEY)).rows

    return run


def deduplication(policy: str) -> Callable[[Path], int]:
    """Of the ingest step the copies of texts alone, on DuckDB: folding, facts or sketches, and the queries."""

    def run(folder: Path) -> int:
        from kale_tasks.ingest.clean import FACTS, SKETCHES
        from kale_tasks.ingest.dedup import decide
        from kale_tasks.ingest.duck import DuckEngine
        from kale_tasks.ingest.engine import Query
        from kale_tasks.lake.schemas import TABLES
        from kale_tasks.lake.storage.open import open_storage
        from kale_tasks.settings import load

        own = [*PLAIN, f"dedup.policy={policy}"]
        settings = load([f"ingest.{one}" for one in own], environ={}).settings
        engine, done = DuckEngine(settings.ingest, open_storage(str(folder), settings.s3)), 0
        with (
            pq.ParquetWriter(folder / "rows.parquet", FACTS) as rows,
            pq.ParquetWriter(folder / "text.parquet", SKETCHES["text"]) as text,
        ):
            for batch in pq.ParquetFile(folder / KEY / "a.parquet").iter_batches(16_384, columns=["text"]):
                ids = pa.array(range(done, done := done + batch.num_rows), pa.int64())
                hashes = _compared(batch["text"].to_pylist(), ids, text if policy == "off" else None, settings.ingest)
                known = {"id": ids, "uid_hash": ids, "url_hash": ids, "text_hash": pa.array(hashes, pa.int64())}
                columns = [known.get(f.name, pa.nulls(len(ids), f.type)).cast(f.type) for f in FACTS]
                rows.write_batch(pa.RecordBatch.from_arrays(columns, schema=FACTS))
        engine.read("rows", ["rows.parquet"], FACTS)
        engine.read("text", ["text.parquet"], SKETCHES["text"])
        engine.read("meaning", [], SKETCHES["meaning"])
        engine.read("earlier", [], TABLES["dedup_index"].arrow)
        decide(engine, settings.ingest)
        return engine.fetch_number(Query("SELECT count(*) FROM decisions WHERE rule IS NULL"))

    return run


def _compared(texts: list[str], ids: pa.Array, sketches: pq.ParquetWriter | None, settings: Ingest) -> Longs:
    from kale_tasks.ingest.clean import SKETCHES
    from kale_tasks.ingest.facts import all_facts
    from kale_tasks.ingest.minhash import text_sketches
    from kale_tasks.ingest.normalize import fold_all, hash64_all

    folded = fold_all(texts)
    if sketches is None:
        hosts = ["p.example"] * len(texts)
        return hash64_all(all_facts(texts, folded, hosts, strict=False))
    bands, sketch = text_sketches(folded, settings.dedup)
    lists = pa.FixedSizeListArray.from_arrays(bands.ravel(), bands.shape[1]).cast(pa.list_(pa.int64()))
    sketches.write_batch(pa.RecordBatch.from_arrays([ids, lists, *sketch.T.copy()], schema=SKETCHES["text"]))
    return hash64_all(folded)


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
    "ingest on DuckDB, rules on": step("duckdb", rules=True),
    "its deduplication alone": deduplication("facts"),
    "the same by MinHash": deduplication("off"),
    "ingest on Spark local[*]": step("spark"),
    "bare rensa": rensa,
    "datatrove": datatrove,
    "data-juicer": juicer,
    "text-dedup": text_dedup,
    "DuckDB, exact only": duckdb_exact,
    "Polars, exact only": polars_exact,
}

UNBOUNDED = (*tuple(CONTENDERS)[:4], "bare rensa")  # the others would take hours
_FEW, _MANY = 200_000, 1_000_000
_OURS = {"ours": "its deduplication alone", "minhash": "the same by MinHash"}


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
                return measured(name, folder, _land(rows, folder, english="rules on" in name), rows)
            finally:
                shutil.rmtree(folder)

        turns = {name: lambda name=name: run(name) for name in names}
        found = in_turns(turns, rounds if rows <= _FEW else 1)
    for peer, (own, ours) in product(("datatrove", "bare rensa"), _OURS.items()):
        if {peer, ours} <= found.keys():
            share = ratio(found[peer], found[ours], lambda sample: sample.cpu)
            page.ratio(f"{peer.removeprefix('bare ')}_cpu_over_{own}_{rows}", share)
    for name, one in found.items():
        each = f"{one.cpu / rows * 1e6:.0f}"
        kept, dropped = f"{one.figure('kept'):,.0f}", f"{one.figure('dropped'):.4f}"
        yield f"{rows:,}", name, *one.cells, each, f"{one.peak_mb:.0f}", kept, dropped


def _land(rows: int, folder: Path, english: bool) -> int:
    path = folder / KEY / "a.parquet"
    made = list(texts(rows, english))
    path.parent.mkdir()
    columns = {"url": [f"https://p.example/{n}.jpg" for n in range(rows)], "text": [text for text, _ in made]}
    pq.write_table(pa.table(columns), path, row_group_size=100_000)
    return len({source for _, source in made})


_HEADER = ["rows", "contender", "wall s", "CPU s", "machine", "CPU µs a row", "peak MB", "kept", "dropped"]
_ABOUT = """
By `python -m bench.dedup --rows N…`; every contender in a process of its own, in turns, on the same texts of about ten
words, of which one in ten nearly repeats another (a stop, a mark or a star more). *Dropped* counts the rows dropped by
the rows that repeat: below 1 some were missed. Ours is the whole ingest step: it also repairs texts, tells their
language, removes exact duplicates of uid, URL and sha256, writes the table and its index of earlier keys, and commits;
with the rules off, or as shipped on texts of which half of the words are English, of which the rules drop more than
copies. *Its deduplication alone* compares facts, as is the default; MinHash has 128 permutations in 16 bands, as for
all peers. A ratio is a peer's CPU time divided by that of *its deduplication alone*, or of *the same by MinHash*.
"""

if __name__ == "__main__":
    main()
