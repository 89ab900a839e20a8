"""Fetching beside img2dataset: speed on the same honest server, and what each does with a hostile one.

python bench/fetch.py            both measurements, written to bench/fetch.md
python bench/fetch.py speed 2000 only the speed, with so many images
"""

import io
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PEER = ROOT / ".venv-bench/bin/python"
HOSTS, PICTURES = 16, 96
SIDES = [(320, 240), (500, 375), (640, 480), (800, 600), (1024, 768), (1280, 960), (1600, 1200)]
ROUNDS = 3
ABROAD = ("cloud metadata", "redirect to metadata")
ENDLESS = ("slow drip", "endless body", "huge length")


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    images: int
    wall: float
    cpu: float
    peak_mb: float


def main() -> None:
    """Measure and write the page."""
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    lines = ["# Fetching beside img2dataset 1.47", "", "Machine: 2 cores, 24 GB, shared with other work.", ""]
    lines += speed(wanted)
    if len(sys.argv) == 1:
        lines += ["", *probe()]
    (ROOT / "bench/fetch.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def speed(wanted: int) -> list[str]:
    """Both take the same images, three times in turn; medians."""
    costs: dict[str, list[Cost]] = {"kale": [], "img2dataset": []}
    figures: dict[str, float] = {}
    with served() as port:
        urls = [f"http://127.0.0.{i % HOSTS + 1}:{port}/{i}.jpg" for i in range(wanted)]
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                _pairs(Path(folder), urls)
                cost, told = _spent([sys.executable, __file__, "kale", folder], wanted)
                costs["kale"].append(cost)
                figures = json.loads(told.splitlines()[-1])
            with tempfile.TemporaryDirectory() as folder:
                costs["img2dataset"].append(_peer(Path(folder), urls, timeout=600))
    seconds = sorted((name, value) for name, value in figures.items() if name.endswith("_seconds"))
    rows = ["| | images | images/s | CPU s | images per CPU s | peak MB |", "|---|---|---|---|---|---|"]
    mid = {name: _median(runs) for name, runs in costs.items()}
    for name, cost in mid.items():
        rate, each = cost.images / cost.wall, cost.images / cost.cpu
        rows.append(f"| {name} | {cost.images} | {rate:.0f} | {cost.cpu:.1f} | {each:.0f} | {cost.peak_mb:.0f} |")
    ours, theirs = mid["kale"], mid["img2dataset"]
    ratio = (
        (ours.images / ours.cpu) / (theirs.images / theirs.cpu),
        (ours.images / ours.wall) / (theirs.images / theirs.wall),
    )
    return [
        "## Speed",
        "",
        f"{wanted} JPEGs of 320 to 1,600 pixels from {HOSTS} hosts of one server; longest side 512, "
        f"JPEG 95, SHA-256, tars. Medians of {ROUNDS} runs in turn, start of the program included; "
        "robots.txt, perceptual hash and lake commit only in kale.",
        "",
        *rows,
        "",
        f"Images per CPU second: {ratio[0]:.2f} times img2dataset's; images per second: {ratio[1]:.2f} times.",
        "",
        "Where kale's time goes, in seconds of one run (workers decode side by side, requests wait side by side): "
        + ", ".join(f"{name.removesuffix('_seconds')} {value:.1f}" for name, value in seconds),
    ]


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


@contextmanager
def served() -> Iterator[int]:
    """The honest server in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def serve() -> None:
    """Answer with prepared pictures, as cheaply as Python can."""
    import asyncio

    import uvloop

    answers = [_answer(200, _picture(i)) for i in range(PICTURES)]
    nothing = _answer(404, b"")

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.rest = transport, b""

        def data_received(self, data: bytes) -> None:
            self.rest += data
            while b"\r\n\r\n" in self.rest:
                head, _, self.rest = self.rest.partition(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].strip(b"/").removesuffix(b".jpg")
                self.transport.write(answers[int(name) % PICTURES] if name.isdigit() else nothing)
                if b"connection: close" in head.lower():
                    self.transport.close()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        first = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
        port = first.sockets[0].getsockname()[1]
        others = [await loop.create_server(Server, f"127.0.0.{i + 1}", port, backlog=1024) for i in range(1, HOSTS)]
        print(port, flush=True)
        await asyncio.gather(*(server.serve_forever() for server in (first, *others)))

    uvloop.run(run())


def run_kale(folder: str) -> None:
    """Our side of the speed measurement."""
    from kale_tasks.images.step import Images
    from kale_tasks.lake.tables import Lake
    from kale_tasks.runner.run import Run, execute
    from tests.images.world import KEY

    of = _settings(Path(folder))
    run = Run(Images(), Lake(of), of, KEY)
    committed = execute(run)
    assert committed.rows == committed.rows_in
    print(json.dumps(run.meter.figures))


def run_peer(folder: str, timeout: str, threads: str, memory: str = "") -> None:
    """The peer's side, run by its own Python."""
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    from img2dataset import download  # type: ignore[import-not-found]

    download(
        url_list=f"{folder}/urls.parquet", output_folder=f"{folder}/out", input_format="parquet", url_col="url",
        output_format="webdataset",
        image_size=512, resize_mode="keep_ratio_largest", resize_only_if_bigger=True, encode_quality=95,
        compute_hash="sha256", extract_exif=False, processes_count=2, thread_count=int(threads),
        number_sample_per_shard=500,
        timeout=int(timeout), disallowed_header_directives=["noai", "noimageai", "noml"],
    )  # fmt: skip


def _settings(folder: Path) -> Any:
    from tests.images.world import settings

    fast = ["host_rate=100000", "host_concurrency=16", "concurrency=128"]
    workers = f"images.decode.workers={os.cpu_count()}"
    sets = [f"images.fetch.{f}" for f in fast]
    # The same few pictures come often here, and would be taken for placeholders.
    return settings(
        folder, *sets, workers, "parts.part_rows=500", "parts.chunk_rows=20000", "images.placeholder_count=1000000"
    )


def _pairs(folder: Path, urls: Sequence[str]) -> None:
    from tests.images.world import lake_with, pairs_of

    lake_with(_settings(folder), pairs_of(urls))


def _peer(folder: Path, urls: Sequence[str], timeout: float) -> Cost:
    _list(folder, urls)
    cost, _ = _spent([str(PEER), __file__, "peer", str(folder), "10", "64"], len(urls), timeout)
    stats = [json.loads(p.read_text()) for p in (folder / "out").glob("*_stats.json")]
    return Cost(sum(s["successes"] for s in stats), cost.wall, cost.cpu, cost.peak_mb)


def _list(folder: Path, urls: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"url": list(urls)}), folder / "urls.parquet")


def _tried(urls: Sequence[str]) -> dict[str, str]:
    """What img2dataset says of some addresses, with 5 GB to do so."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        _list(Path(folder), urls)
        command = [str(PEER), __file__, "peer", folder, "5", "16", str(5 << 30)]
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
        return {row["url"]: _told(row) for row in rows}


def _fine(right: tuple[str, ...], said: str) -> bool:
    if "ok" in right:
        return said == "ok" or (len(right) > 1 and said.startswith("failed"))
    return said.startswith("failed")


def _told(row: dict[str, Any]) -> str:
    if row["status"] == "success":
        return "ok"
    return f"failed: {(row['error_message'] or row['status'])[:60]}".replace("|", "/").replace("\n", " ")


def _spent(command: Sequence[str], images: int, timeout: float = 600) -> tuple[Cost, str]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    peak = 0.0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(0.2)
            if time.monotonic() - began > timeout:
                os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise SystemExit(f"{command[1:3]} failed: {said[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(images, time.monotonic() - began, cpu, peak), said


def _memory(session: int) -> float:
    """Megabytes of all processes of a session, shared pages counted once."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                rollup = stat.with_name("smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def _median(runs: Sequence[Cost]) -> Cost:
    return Cost(*(type(values[0])(statistics.median(values)) for values in zip(*map(_values, runs), strict=True)))


def _values(cost: Cost) -> tuple[int, float, float, float]:
    return cost.images, cost.wall, cost.cpu, cost.peak_mb


def _picture(number: int) -> bytes:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(number)
    width, height = SIDES[number % len(SIDES)]
    coarse = Image.fromarray(rng.integers(0, 255, (height // 24, width // 24, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    out = io.BytesIO()
    grain = rng.integers(-6, 6, pixels.shape)
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def _answer(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    words = {"serve": serve, "kale": run_kale, "peer": run_peer}
    if len(sys.argv) > 1 and sys.argv[1] in words:
        words[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    else:
        main()
