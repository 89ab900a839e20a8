"""The chain as rows, keys and chunks grow, with an engine that answers at once: `python -m bench.load [ROWS ...]`.

Writes bench/load.md and docs/pictures/load.svg. With ROWS it takes keys of other sizes, and prints the page only.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from bench.frame import ROOT, Page, process
from kale_tasks.bench.measure import Sample, ratio, timed
from kale_tasks.bench.measure import Series as Rounds
from kale_tasks.charts import course, picture
from kale_tasks.engines.base import Answer, Engine, Request
from kale_tasks.lake.shards import TarWriter
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.world.alttext import write_alt
from kale_tasks.world.scene import make_facts, make_scene
from tests.e2e.chain.small import LENIENT
from tests.lakes import lake_of
from tests.steps import Numbers

ROWS, KEYS, KEY_ROWS, CHUNKS = (2_000, 20_000, 200_000), 50, 20, (10, 100, 1_000)
STEPS = ("ingest", "images", "captions", "release")
FILE_ROWS, SIDE, GRID = 10_000, 128, 8
ABOUT = f"""
From landing to release. A key is tars as img2dataset writes them: JPEGs of {SIDE} pixels, no two alike, with alt-texts
of the sample world. Recipe `capsfusion` without its checks' limits: two models, whose engine repeats a script and
answers at once; all pairs are of stage 1. Each row is one command, with its start; memory is that of all processes.
What a real engine takes is its own (bench/caption_engines.md).
"""
_SENTENCES = (
    "A quiet harbour lies below a wide and cloudy sky.",
    "Several people walk along the wet stones of the pier.",
    "Nets and ropes are piled beside a low wall.",
    "Behind them are narrow houses with steep roofs.",
    "A dog sleeps near an open door.",
    "Two gulls circle over the water.",
    "The light is soft and comes from the left side.",
)
_SHORT = "Short caption: "  # how the recipe gives the description of the image


Row = list[object]


class Replay(Engine):
    """Answers at once: an image with sentences chosen by its bytes, a text with the text that it was given."""

    def start(self) -> None:
        self._done = list[Answer]()

    @property
    def pending(self) -> int:
        return len(self._done)

    def submit(self, request: Request) -> None:
        said = _describe(request.image) if request.image else _repeat(request)
        self._done.append(Answer(request.id, said, tokens_in=300, tokens_out=60, finish="stop"))

    def finished(self) -> list[Answer]:
        done, self._done = self._done, []
        return done

    def stop(self) -> None:
        pass


def _describe(image: bytes) -> str:
    return " ".join(Random(hashlib.sha256(image).digest()).sample(_SENTENCES, 3))


def _repeat(request: Request) -> str:
    return str(request.messages[-1]["content"]).partition(_SHORT)[2].partition("\n")[0]


def main() -> None:
    """Measure and write."""
    sizes = tuple(map(int, sys.argv[1:])) or ROWS
    page = Page("load", "The chain under load", ABOUT, ["pyarrow", "pyiceberg"])
    with tempfile.TemporaryDirectory(prefix="kale-load-") as name:
        install(Path(name))
        found = {size: chain(Path(name, str(size)), size) for size in sizes}
        keys = many_keys(Path(name, "keys"), KEYS)
    fill(page, found, keys, [chunks(number) for number in CHUNKS])
    if sizes == ROWS:
        page.write()
        (ROOT / "docs" / "pictures" / "load.svg").write_bytes(drawn(found, keys))
    else:
        page.show()


def fill(page: Page, found: Mapping[int, Mapping[str, Sample]], keys: Sequence[Sample], steps: Sequence[Row]) -> None:
    """Put what was measured on the page."""
    page.text("## Rows of a key")
    page.table(
        ["rows", "step", "wall s", "CPU s", "CPU µs a row", "peak MB", "machine"],
        [
            [size, step, *_cells(sample), f"{sample.cpu / size * 1e6:,.0f}", f"{sample.peak_mb:.0f}", _of(sample)]
            for size, steps in found.items() for step, sample in steps.items()
        ],
    )  # fmt: skip
    page.text(f"## {KEYS} keys of {KEY_ROWS} rows, one after the other, each to its release")
    shown = (0, KEYS // 2, KEYS - 1)
    page.table(["keys before", "wall s", "CPU s", "machine"], [[at, *_cells(keys[at]), _of(keys[at])] for at in shown])
    page.text("## Chunks of one step, with ten rows each")
    page.table(["chunks", "wall s", "CPU s", "CPU ms a chunk", "machine"], steps)
    ends = Rounds(keys[1:6]), Rounds(keys[-5:])
    page.ratio(f"first_over_last_of_{KEYS}_keys_cpu", ratio(*ends, lambda sample: sample.cpu))


def _cells(sample: Sample) -> list[str]:
    return [f"{sample.wall:.2f}", f"{sample.cpu:.2f}"]


def _of(sample: Sample) -> str:
    return "busy" if sample.busy else "idle"


def install(folder: Path) -> None:
    """Make the engine known to the commands, as a package does that brings one."""
    info = folder / "kale_replay-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kale-replay\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kale.engines]\nreplay = bench.load:Replay\n")
    sys.path.append(str(folder))


def sets(folder: Path) -> list[str]:
    """The settings of the lake in a folder."""
    return [
        "profile=laptop", f"landing={folder}/landing", f"warehouse={folder}/lake", "log=plain",
        "caption.recipe=capsfusion", "caption.engine=replay", "caption.in_flight=64",
        "ingest.split.stage1=1", "ingest.split.holdout=0", "ingest.rules.min_side=1", "ingest.lists.evaluation=null",
        *(f"{name.removeprefix('KALE_').lower().replace('__', '.')}={value}" for name, value in LENIENT.items()),
    ]  # fmt: skip


def command(folder: Path, *words: str) -> Sample:
    """Run a command as people do, with its start."""
    options = [word for value in sets(folder) for word in ("--set", value)]
    environment = {"PYTHONPATH": f"{ROOT}:{folder.parent}", "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    return process([sys.executable, "-m", "kale_tasks", *words, *options], env=environment)[0]


def chain(folder: Path, rows: int) -> Mapping[str, Sample]:
    """Deliver a key with a number of rows, and take it from its landing to a release."""
    command(folder, "init")
    land(folder / "landing" / "2026-11-01", rows)
    return {step: command(folder, "run", step, "--key", "2026-11-01") for step in STEPS}


def many_keys(folder: Path, number: int) -> list[Sample]:
    """Take small keys to their release, one after the other, within one process."""
    from tests.kale import kale

    def one(key: str) -> None:
        for step in STEPS:
            answer = kale("run", step, "--key", key, sets=sets(folder))
            if answer.code:
                raise SystemExit(answer.err)

    kale("init", sets=sets(folder))
    names = [f"2026-{1 + at // 28:02}-{1 + at % 28:02}" for at in range(number)]
    for at, key in enumerate(names):
        land(folder / "landing" / key, KEY_ROWS, at * KEY_ROWS)
    return [timed(partial(one, key)) for key in names]


def chunks(number: int) -> Row:
    """Take a key with that many chunks through all verbs, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        lake, settings = lake_of([f"warehouse={folder}", "parts.part_rows=10", "parts.chunk_rows=10"])
        took = timed(lambda: execute(Run(Numbers(10 * number), lake, settings, "2026-11-01")) and None)
    return [number, *_cells(took), f"{took.cpu / number * 1e3:.1f}", _of(took)]


def land(folder: Path, rows: int, first: int = 0) -> None:
    """Write the tars of a key."""
    folder.mkdir(parents=True)
    spans = [(folder, start, min(start + FILE_ROWS, first + rows)) for start in range(first, first + rows, FILE_ROWS)]
    if len(spans) == 1:
        _land(*spans[0])
        return
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_land, *zip(*spans, strict=True)))


def _land(folder: Path, start: int, stop: int) -> None:
    with TarWriter(folder / f"{start:08}.tar") as tar:
        for number, image, text in _pairs(start, stop):
            about = f'{{"url": "https://photos-{number % 997}.example/{number}.jpg"}}'
            for suffix, content in (("jpg", image), ("json", about.encode()), ("txt", text.encode())):
                tar.add(f"{number:08}.{suffix}", content)


def _pairs(start: int, stop: int) -> Iterator[tuple[int, bytes, str]]:
    for number in range(start, stop):
        rng = Random(f"load {number}")
        colours = np.frombuffer(rng.randbytes(GRID * GRID * 3), np.uint8).reshape(GRID, GRID, 3)
        out = BytesIO()
        Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(out, "JPEG", quality=85)
        yield number, out.getvalue(), write_alt(rng, "full", make_scene(rng), make_facts(rng, 0.0)).text


def drawn(found: Mapping[int, Mapping[str, Sample]], keys: Sequence[Sample]) -> bytes:
    """Draw how costs grow."""
    charts = [
        course({f"{size:,} rows": steps[step].cpu / size * 1e6 for size, steps in found.items()}, step, f" µs, {step}")
        for step in STEPS
    ]
    growth = course({f"key {at + 1}": one.cpu for at, one in enumerate(keys)}, "keys", " CPU s a small key")
    return picture(*charts, growth, title="CPU of a row by the rows of a key, and of a key by the keys before it")


if __name__ == "__main__":
    main()
