"""What experts, embedders and selections take: CPU time and memory for each image, and for 100,000 vectors.

python -m bench.experts
"""

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path

from bench.frame import Page, Series, in_turns, process

ABOUT = """
By `python -m bench.experts`, on photographs of Debian's `gcompris-qt-data`, at most 768 pixels long as the images step
stores them. CPU milliseconds are what one more image takes: the difference of runs with many images and with one. The
memory is that of the process that asks, of the expert's own, and of the model. `labels` runs in the process that asks.
"""
PARTS = [
    ("expert", "rapidocr"), ("expert", "faces"), ("expert", "nsfw"), ("expert", "tags"), ("embedder", "efficientnet"),
    ("embedder", "minilm"), ("scorer", "labels"),
]  # fmt: skip
_ROUNDS, _IMAGES, _VECTORS = 3, 33, 100_000


def main() -> None:
    """Measure all parts in turns."""
    arguments = _arguments()
    if arguments.part:
        return _ask(arguments.kind, arguments.part, arguments.images)
    page = Page("experts", "What experts and selections take", ABOUT)
    runs = {
        f"{name} {images}": lambda kind=kind, name=name, images=images: process(_command(kind, name, images))[0]  # type: ignore[misc]
        for kind, name in PARTS
        for images in (1, _IMAGES)
    }
    found = in_turns(runs, _ROUNDS)
    page.table(
        ("part", "CPU ms an image", "peak MB", "machine"),
        [_row(name, found[f"{name} 1"], found[f"{name} {_IMAGES}"]) for _, name in PARTS],
    )
    page.text(
        f"## Selections\n\n{_VECTORS:,} vectors of 1,280 numbers in clusters, a twentieth of them copies: copies are "
        f"dropped and a tenth of the rows is kept. Peak memory is that of all processes, with Spark's JVM."
    )
    with tempfile.TemporaryDirectory() as folder:
        runs = {engine: lambda engine=engine: _selected(Path(folder), engine) for engine in ("duckdb", "spark")}  # type: ignore[misc]
        _store(Path(folder))
        page.table(
            ("engine", "wall s", "CPU s", "machine", "peak MB"),
            [(name, *series.cells, f"{series.peak_mb:.0f}") for name, series in in_turns(runs, _ROUNDS).items()],
        )
    page.write()
    return None


def _row(name: str, few: Series, many: Series) -> tuple[object, ...]:
    each = (many.cpu - few.cpu) / (_IMAGES - 1) * 1000
    return name, f"{each:.0f}", f"{many.peak_mb:.0f}", "busy" if few.busy or many.busy else "idle"


def _command(kind: str, name: str, images: int) -> list[object]:
    return [sys.executable, "-m", "bench.experts", "--kind", kind, "--part", name, "--images", images]


def _ask(kind: str, name: str, count: int) -> None:
    from kale_tasks.experts.base import open_scorer
    from kale_tasks.experts.host import Host, HostedRow
    from tests.experts.photographs import decoded

    images = list(decoded(768).items())[:count]
    text = "A photograph of a famous building in a large city"
    if kind == "scorer":
        scorer = open_scorer(name, {})
        scorer.start()
        scorer.scores([(image, text) for _, image in images])
        return
    with Host(kind, name, {}) as host:
        rows = []
        for uid, image in images:
            sink = io.BytesIO()
            image.save(sink, "JPEG", quality=95)
            rows.append(HostedRow(uid, text, sink.getvalue()))
        host.ask(rows)


def _store(folder: Path) -> None:
    from tests.selection.points import clustered, stored, with_copies

    made, _ = with_copies(clustered(_VECTORS, 1280, 400, seed=3, spread=1.2), _VECTORS // 20, seed=4)
    vectors = stored(folder, made)
    (folder / "files.json").write_text(json.dumps(vectors.files))


def _selected(folder: Path, engine: str) -> object:
    files = json.loads((folder / "files.json").read_text())
    (folder / "asked.json").write_text(json.dumps([str(folder), files, engine]))
    with (folder / "asked.json").open() as asked:
        return process([sys.executable, "-m", "tests.selection.select_once"], stdin=asked)[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("--kind", str), ("--part", str), ("--images", int)):
        parser.add_argument(name, type=kind)
    return parser.parse_args()


if __name__ == "__main__":
    main()
