"""Fetching beside img2dataset: speed on the same honest server, and what each does with a hostile one.

    python -m bench.fetch --images 2000 20000

Writes bench/fetch.md.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.frame import ROOT, Page, process
from bench.peers.image_server import HOSTS, served
from kale_tasks.bench.measure import Sample, in_turns, ratio

PEER = [ROOT / ".venv-bench/bin/python", ROOT / "bench/peers/img2dataset_fetch.py"]
CORES = os.cpu_count() or 1
ROUNDS = 3
STORE_DELAY = 0.2  # seconds of each request to the store, where it is slow; both sides read it from the environment
SLOW_IMAGES, SLOW_ROUNDS = 20_000, 2
ABROAD = ("cloud metadata", "redirect to metadata")
ENDLESS = ("slow drip", "endless body", "huge length")


def main() -> None:
    """Measure and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, nargs="+", default=[2000, 20000], help="sizes")
    options.add_argument("--no-hostile", action="store_true", help="leave out the hostile cases")
    given = options.parse_args()
    page = Page("fetch", "Fetching beside img2dataset 1.47", _ABOUT, ["aiohttp", "pillow"])
    speed(page, given.images)
    if not given.no_hostile:
        page.text("\n".join(probe()))
    page.write()


_ABOUT = f"""
By `python -m bench.fetch`: JPEGs of 320 to 1,600 pixels from {HOSTS} hosts of one server; longest side 512, JPEG 95,
SHA-256, tars; start of the program included. Only kale reads robots.txt, hashes pixels and commits to a lake. A ratio
is kale's images a second, or a CPU second, divided by img2dataset's. "slow store": each request to the store that the
images and the tables are written to takes {STORE_DELAY * 1000:.0f} ms more, on both sides. Ours decodes in one process
more than there are cores, its default; img2dataset has one for each core, and there a third contender with one more.
"""


def speed(page: Page, sizes: Sequence[int]) -> None:
    """Both fetch the same images, in turns, by size."""
    lines: list[tuple[object, ...]] = []
    with served() as port:
        for number, delay in [*((size, 0.0) for size in sizes), (SLOW_IMAGES, STORE_DELAY)]:
            urls = [f"http://127.0.0.{i % HOSTS + 1}:{port}/{i}.jpg" for i in range(number)]
            os.environ["STORE_DELAY"] = str(delay)
            contenders = {"kale": lambda u=urls: _ours(u), "img2dataset": lambda u=urls: _peer(u, CORES)}
            if delay:
                contenders["img2dataset, one process more"] = lambda u=urls: _peer(u, CORES + 1)
            found = in_turns(contenders, SLOW_ROUNDS if delay else ROUNDS)
            pair, size = (found["kale"], found["img2dataset"]), f"{number}_slow_store" if delay else str(number)
            page.ratio(f"images_per_second_{size}", ratio(*pair, lambda s: s.figures["images"] / s.wall))
            page.ratio(f"images_per_cpu_second_{size}", ratio(*pair, lambda s: s.figures["images"] / s.cpu))
            for name, one in found.items():
                images = one.figure("images")
                rates = f"{images / one.wall:.0f}", f"{images / one.cpu:.0f}"
                lines.append(
                    (size.replace("_", ", ", 1).replace("_", " "), name, *one.cells, *rates, f"{one.peak_mb:.0f}")
                )
    page.text("## Speed")
    page.table(["images", "who", "wall s", "CPU s", "machine", "images/s", "images per CPU s", "peak MB"], lines)
    seconds = {name: value for name, value in found["kale"].samples[-1].figures.items() if name.endswith("_seconds")}
    spent = ", ".join(f"{name.removesuffix('_seconds')} {value:.1f}" for name, value in sorted(seconds.items()))
    page.text(f"Where kale's time goes, in seconds of the last run (decoders and requests run side by side):\n{spent}")


def probe() -> list[str]:
    """What becomes of each hostile case in both."""
    from tests.images.hostile import hostile_server, slug
    from tests.images.world import images, lake_with, pairs_of, settings, uid

    with hostile_server() as hostile, tempfile.TemporaryDirectory() as folder:
        cases = hostile.cases()
        caps = ["images.fetch.allow=['127.0.0.1/32']", "images.fetch.seconds=5", "images.fetch.tries=1"]
        caps += ["images.fetch.max_bytes=4000000"]
        of = settings(Path(folder), *caps)
        rows = images(lake_with(of, pairs_of([case.url for case in cases])), of)
        ours_inside = len(hostile.inside_hits)
        abroad = [case.url for case in cases if case.name in ABROAD]
        said = dict.fromkeys(abroad, "not tried: it would leave this machine")
        said |= _tried([case.url for case in cases if case.name not in (*ENDLESS, *ABROAD)])
        for case in cases:
            if case.name in ENDLESS:
                said |= _tried([case.url])
        reached = set(hostile.inside_hits)
    lines = ["## Hostile cases", "", "| case | kale | right | img2dataset | right |", "|---|---|---|---|---|"]
    right = {"kale": 0, "img2dataset": 0}
    for case in cases:
        reason, theirs = rows[uid(case.url)]["reason"] or "ok", said.get(case.url, "lost without a word")
        inside = slug(case.name) in reached
        fine = reason in case.right, _fine(case.right, theirs) and not inside
        right["kale"] += fine[0]
        right["img2dataset"] += fine[1]
        marks = ["yes" if good else "no" for good in fine]
        theirs += ", reached the inside" if inside else ""
        lines.append(f"| {case.name} | {reason} | {marks[0]} | {theirs} | {marks[1]} |")
    return [
        *lines,
        "",
        f"Right: kale {right['kale']} of {len(cases)} (the inside reached {ours_inside} times), "
        f"img2dataset {right['img2dataset']} of {len(cases) - len(ABROAD)} (the inside reached by {len(reached)}).",
        "For img2dataset, timeout 5 s, any failure counts as right where a failure is. The endless ones had 60 s each.",
    ]


def run_kale(folder: str) -> None:
    """Our side of the speed measurement."""
    from kale_tasks.images.step import Images
    from kale_tasks.lake.tables import Lake
    from kale_tasks.runner.run import Run
    from kale_tasks.runner.verbs import execute
    from tests.images.world import KEY

    of = _settings(Path(folder))
    _delay_store(float(os.environ.get("STORE_DELAY", "0")))
    run = Run(Images(), Lake(of), of, KEY)
    committed = execute(run)
    assert committed.rows == committed.rows_in
    print(json.dumps(run.meter.figures))


def _delay_store(seconds: float) -> None:
    """Let each request to the store take longer, as to one that is far away."""
    from kale_tasks.lake.storage.folder import FolderStorage

    inside = threading.local()  # a request of the store that makes another is one

    def delayed(name: str) -> None:
        request = getattr(FolderStorage, name)

        def slow(*given: Any) -> Any:
            if getattr(inside, "request", False):
                return request(*given)
            time.sleep(seconds)
            inside.request = True
            try:
                return request(*given)
            finally:
                inside.request = False

        setattr(FolderStorage, name, slow)

    for name in ("put", "_put_if", "tag", "read", "entries", "delete", "copy") if seconds else ():
        delayed(name)


def _settings(folder: Path) -> Any:
    from tests.images.world import settings

    fast = ["host_rate=100000", "host_concurrency=16", "concurrency=128"]
    sets = ["images.decode.workers=null", *(f"images.fetch.{f}" for f in fast)]
    # The same few pictures come often here, and would be taken for placeholders.
    return settings(
        folder,
        *sets,
        "parts.part_rows=500",
        "parts.chunk_rows=20000",
        "images.placeholder_count=1000000",
        "images.decode.max_side=512",
    )


def _pairs(folder: Path, urls: Sequence[str]) -> None:
    from tests.images.world import lake_with, pairs_of

    lake_with(_settings(folder), pairs_of(urls))


def _ours(urls: Sequence[str]) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        _pairs(Path(folder), urls)
        sample, printed = process([sys.executable, "-m", "bench.fetch", "kale", folder], cwd=ROOT)
        return replace(sample, figures={"images": len(urls), **json.loads(printed.splitlines()[-1])})


def _peer(urls: Sequence[str], processes: int) -> Sample:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _list(folder, urls)
        sample, _ = process([*PEER, folder, "10", "64", str(processes)], timeout=600, cwd=ROOT)
        stats = [json.loads(path.read_text()) for path in (folder / "out").glob("*_stats.json")]
        return replace(sample, figures={"images": sum(one["successes"] for one in stats)})


def _list(folder: Path, urls: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"url": list(urls)}), folder / "urls.parquet")


def _tried(urls: Sequence[str]) -> dict[str, str]:
    """What img2dataset says of some addresses, with 5 GB to do so."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        _list(Path(folder), urls)
        command = [*map(str, PEER), folder, "5", "16", "2", str(5 << 30)]
        quiet = subprocess.DEVNULL
        few = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # or its threads alone fill the allowance
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True, env=few)
        try:
            process.wait(60 if len(urls) == 1 else 300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return dict.fromkeys(urls, "still busy after 60 s")
        rows = [row for path in Path(folder, "out").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        return {row["url"]: _outcome(row) for row in rows}


def _fine(right: tuple[str, ...], said: str) -> bool:
    if "ok" in right:
        return said == "ok" or (len(right) > 1 and said.startswith("failed"))
    return said.startswith("failed")


def _outcome(row: dict[str, Any]) -> str:
    if row["status"] == "success":
        return "ok"
    return f"failed: {(row['error_message'] or row['status'])[:60]}".replace("|", "/").replace("\n", " ")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "kale":
        run_kale(sys.argv[2])
    else:
        main()
