"""How fast the pages are on a key of a million captions: one reader, every order and search, then 50 readers at once.

    python -m bench.pages

The captions are made of words drawn by chance and committed to a lake in a folder. A server of its own serves the
pages, with no Airflow around it; a reader here is a connection that asks for one page after the other, without a pause.
A list that was made is kept for two minutes while its files are the committed ones: the first time is without that, the
others may be with it. The first search of a column begins an index of its words, which later ones use when it is there.
At once, every reader asks for places, rows and words of its own.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
from fastapi import Request

from bench.frame import Page
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.parts import LargeFile, PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.process import start_process, stop_process
from kale_tasks.settings import Settings, load
from kale_tasks.ui.access import Access, ActiveRun, Approval
from tests.services.server import free_port

KEY, RECIPE = "2026-11-01", "kale"
_BATCH = 50_000
_READERS, _ROUNDS = 50, 3
# What readers ask for at once: some pages, or all, and how many each.
_AT_ONCE: Mapping[str, tuple[Sequence[str], int]] = {
    "lists, rows, the overview: 5 each": (("first page", "page in the middle", "row", "overview"), 5),
    "all pages: 3 each": ((), 3),
    "rows only: 5 each": (("row",), 5),
    "searches that read every caption: 1 each": (("search, in no caption",), 1),
}
_WORDS = [
    f"{a}{b}" for a in ("sta", "bri", "lo", "mer", "ka", "von", "ti", "dra") for b in ("ne", "dge", "l", "ta", "rk")
]


class Anybody(Access):
    """A reader without rights to act."""

    @property
    def dependencies(self) -> Sequence[Any]:
        """None."""
        return []

    def name(self, request: Request) -> str:
        """A name."""
        return "reader"

    def may(self, request: Request, action: str) -> bool:
        """Nothing."""
        return False

    def credential(self, request: Request) -> str | None:
        """None."""
        return None

    def record(self, request: Request, event: str, details: Mapping[str, Any]) -> None:
        """Nothing is done."""

    def start(self, request: Request, dag: str, key: str, conf: Mapping[str, Any]) -> str:
        """Nothing is started: no page that is measured does that."""
        return ""

    def active(self) -> Sequence[ActiveRun]:
        """None."""
        return []

    def key_of_run(self, request: Request, dag_id: str, run_id: str) -> str | None:
        """None."""
        return None

    def approvals(self) -> Sequence[Approval]:
        """None."""
        return []


def fill(settings: Settings, rows: int) -> None:
    """Commit a key of that many captions, with their pairs and images."""
    lake = Lake(settings)
    names = {"pairs": {}, "images": {}, "captions": {"recipe": RECIPE, "stage": 1}}
    for table, slice_ in names.items():
        with LargeFile(TABLES[table].arrow) as file:
            for start in range(0, rows, _BATCH):
                file.add(_rows(table, start, min(rows, start + _BATCH), rows))
            written = file.put(lake.storage, f"{table}/key={KEY}/bench", PartMeta("bench", 0, rows, rows))
        new = Committed("bench", content=table, rows=rows, parts=1, snapshot_id=0, at="", rows_in=rows)
        swap(lake, Swap(table, KEY, slice_, "bench", [written.path], None, new))


def _rows(table: str, start: int, stop: int, rows: int) -> pa.Table:
    draw, n = np.random.default_rng(start), stop - start
    uids = [f"{i * (2**128 // rows):032x}" for i in range(start, stop)]
    known: dict[str, Any] = {"uid": uids, "key": [KEY] * n}
    if table == "images":
        known |= {"status": ["ok"] * n, "shard": ["images/none.tar"] * n, "offset": [0] * n, "length": [1] * n}
    else:
        known |= {"url": [f"https://host{i % 997}.example.org/{i}.jpg" for i in range(start, stop)]}
        known |= {"alt_text": _texts(draw, n, 9)}
    if table == "pairs":
        known |= {"split": ["stage1"] * n}
    if table == "captions":
        known |= {"recipe": [RECIPE] * n, "stage": [1] * n, "dense_caption": _texts(draw, n, 28)}
        known |= {"caption": _texts(draw, n, 34), "models": [["model@1"]] * n, "facts": draw.integers(0, 9, n).tolist()}
        known |= {"facts_from_alt": draw.integers(0, 4, n).tolist(), "facts_invented": draw.integers(0, 4, n).tolist()}
        known |= {"flags": [["rare"] if i % 5003 == 0 else [] for i in range(n)], "confidence": draw.random(n).tolist()}
    schema = TABLES[table].arrow
    columns = [pa.array(known[f.name], f.type) if f.name in known else pa.nulls(n, f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _texts(draw: np.random.Generator, n: int, words: int) -> list[str]:
    drawn = np.array(_WORDS)[draw.integers(0, len(_WORDS), (n, words))]
    return [" ".join(row) for row in drawn]


def serve(warehouse: str, port: int) -> None:
    """Serve the pages of a lake until stopped."""
    import uvicorn

    from kale_tasks.ui.app import make_app
    from kale_tasks.ui.site import Site

    uvicorn.run(make_app(Site(lambda: {"KALE_WAREHOUSE": warehouse}, Anybody())), port=port, log_level="warning")


def paths(rows: int, at: int, word: str) -> dict[str, str]:
    """What is asked for, by what the table calls it; lists begin at a row, and no caption has the word."""
    middle = f"{at * (2**128 // rows):032x}"
    listed = f"/captions?key={KEY}"
    sorts = ("invented", "unused", "flags", "confidence", "score", "longest", "shortest")
    return {
        "first page": listed,
        "page in the middle": f"{listed}&after={RECIPE}/1/{middle}",
        "row": f"/rows/{KEY}/{middle}",
        "overview": "/",
        "key": f"/keys/{KEY}",
        "votes": f"/votes?key={KEY}",
        "quality": "/quality",
        "search, common word": f"{listed}&q=bridge",
        "search, in no caption": f"{listed}&q={word}",
        "search, in no dense caption": f"{listed}&q={word}&within=dense_caption",
        "host": f"{listed}&host=host{at % 997}.example.org",
        "flag": f"{listed}&flag=rare",
        **{f"order: {name}": f"{listed}&sort={name}" for name in sorts},
    }


def measure(client: httpx.Client, path: str) -> tuple[list[float], bool]:
    """Ask for a page several times; return the seconds, and whether it was made rather than stopped."""
    took, whole = [], True
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        answer = client.get(path)
        took.append(time.perf_counter() - began)
        whole = whole and answer.status_code == 200
    return took, whole


def readers(address: str, rows: int, names: Collection[str], each: int) -> list[float]:
    """Let many readers ask for some pages at once, each at places of its own; return the seconds of every answer."""

    def reader(number: int) -> list[float]:
        draw, took = random.Random(number), []
        for turn in range(each):
            asked = paths(rows, draw.randrange(rows), f"zebra{number}x{turn}")
            began = time.perf_counter()
            assert client.get(asked[draw.choice(list(names))]).status_code in (200, 409)
            took.append(time.perf_counter() - began)
        return took

    lines = httpx.Limits(max_connections=_READERS)
    with httpx.Client(base_url=address, timeout=120, limits=lines) as client, ThreadPoolExecutor(_READERS) as pool:
        return [seconds for took in pool.map(reader, range(_READERS)) for seconds in took]


def main() -> None:
    """Make the lake, measure, and write bench/pages.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--serve", nargs=2, metavar=("WAREHOUSE", "PORT"))
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve[0], int(asked.serve[1]))
        return
    with tempfile.TemporaryDirectory(prefix="kale-bench-pages-") as folder:
        warehouse = str(Path(folder, "lake"))
        fill(load([f"warehouse={warehouse}"], environ={}).settings, asked.rows)
        port = free_port()
        environment = {**os.environ, "KALE_LANDING": f"{folder}/landing"}
        line = [sys.executable, "-m", "bench.pages", "--serve", warehouse, str(port)]
        server = start_process(line, environment=environment)
        try:
            _report(f"http://127.0.0.1:{port}", psutil.Process(server.pid), asked.rows)
        finally:
            stop_process(server)


def _report(address: str, server: psutil.Process, rows: int) -> None:
    page = Page("pages", "Pages", __doc__ or "", ["duckdb", "fastapi"])
    asked = paths(rows, rows // 2, "zebra")
    with httpx.Client(base_url=address, timeout=120) as client:
        _wait(client)
        held = {"at the start": _held(server)}
        opening = measure(client, "/models")[0][0]  # imports, templates and the catalog
        lines = []
        for name, path in asked.items():
            took, whole = measure(client, path)
            lines.append([name, *(f"{1000 * s:.0f}" for s in (took[0], statistics.median(took), max(took)))])
            lines[-1].append("" if whole else "stopped")
    held["after every page"] = _held(server)
    page.text(f"## One reader, {rows:,} captions")
    page.text(f"The first answer of a server that has just started took {1000 * opening:.0f} ms.")
    page.table(["page", "first ms", "median ms", "longest ms", ""], lines)
    page.text(f"## {_READERS} readers at once")
    table = []
    for name, (names, each) in _AT_ONCE.items():
        took = sorted(readers(address, rows, names or list(asked), each))
        held[f"after {_READERS} readers, {name}"] = _held(server)
        table.append([name, *(f"{took[int(part * (len(took) - 1))]:.2f}" for part in (0.5, 0.95, 1))])
    page.table(["pages", "median s", "p95 s", "longest s"], table)
    page.text("## Memory of the server")
    page.table(["", "MB"], [[name, f"{mb:.0f}"] for name, mb in held.items()])
    page.write()


def _wait(client: httpx.Client) -> None:
    for _ in range(300):
        try:
            client.get("/kale.css")
            return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError("The server did not start.")


def _held(server: psutil.Process) -> float:
    found = [server, *server.children(recursive=True)]
    return sum(one.memory_info().rss for one in found) / 1e6


if __name__ == "__main__":
    main()
