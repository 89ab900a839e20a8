"""What experts, embedders, scorers and selections take: CPU time and memory. Takes about two minutes.

python -m bench.experts
"""

import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.frame import Page, process
from kale_tasks.bench.measure import Sample, Series, in_turns, timed

_ROUNDS, _IMAGES, _VECTORS = 3, 16, 20_000
ABOUT = f"""
By `python -m bench.experts`, on {_IMAGES} photographs of Debian's `gcompris-qt-data`, at most 768 pixels long as the
images step stores them. Milliseconds are those of an image after the first one; the whole run includes the start of its
processes and the first image. The memory is that of the process that asks, of the expert's own, and of the model;
pages that several processes share are counted once. `minilm` encodes a text a row; `labels` runs in the process that
asks.
"""
PARTS = [
    ("expert", "rapidocr"), ("expert", "faces"), ("expert", "nsfw"), ("expert", "tags"), ("embedder", "efficientnet"),
    ("embedder", "minilm"), ("scorer", "labels"),
]  # fmt: skip


def main() -> None:
    """Measure all parts in turns, or in a process of its own the part that is named."""
    if sys.argv[1:]:
        kind, name = sys.argv[1:]
        print(json.dumps(_ask(kind, name)))
        return
    page = Page("experts", "What experts and selections take", ABOUT)
    runs: dict[str, Callable[[], Sample]] = {
        name: lambda kind=kind, name=name: _measured(kind, name)  # type: ignore[misc]
        for kind, name in PARTS
    }
    header = ("part", "CPU ms an image", "ms an image", "whole run, CPU s", "peak MB", "machine")
    page.table(header, [_row(name, series) for name, series in in_turns(runs, _ROUNDS).items()])
    page.text(
        f"## Selections\n\n{_VECTORS:,} vectors of 1,280 numbers in clusters, a twentieth of them copies: copies are\n"
        f"dropped and a tenth of the rows is kept; once each. The vectors have noise in all directions: no pair is\n"
        f"ruled out early. Peak memory is that of all processes, with Spark's JVM."
    )
    with tempfile.TemporaryDirectory() as folder:
        _store(Path(folder))
        taken = {engine: _selected(Path(folder), engine) for engine in ("duckdb", "spark")}
        page.table(
            ("engine", "wall s", "CPU s", "peak MB", "machine"),
            [(name, f"{of.wall:.1f}", f"{of.cpu:.1f}", f"{of.peak_mb:.0f}", _state(of)) for name, of in taken.items()],
        )
    page.write()


def _row(name: str, found: Series) -> tuple[object, ...]:
    each = [f"{found.figure(figure):.0f}" for figure in ("cpu_ms", "wall_ms")]
    return name, *each, f"{found.cpu:.1f}", f"{found.peak_mb:.0f}", _state(found)


def _state(of: Sample | Series) -> str:
    return "busy" if of.busy else "idle"


def _measured(kind: str, name: str) -> Sample:
    took, said = process([sys.executable, "-m", "bench.experts", kind, name])
    return replace(took, figures=json.loads(said.splitlines()[-1]))


def _ask(kind: str, name: str) -> dict[str, float]:
    """Ask for one image, and then for the others."""
    from kale_tasks.experts.base import open_scorer
    from kale_tasks.experts.host import Host, HostedRow
    from tests.experts.photographs import photographs, shown

    images = list(shown(dict(list(photographs().items())[: _IMAGES + 1]), 768).values())
    text = "A photograph of a famous building in a large city"
    if kind == "scorer":
        scorer = open_scorer(name, {})
        with scorer.running():
            return _spent(lambda some: scorer.scores([(image, text) for image in some]), images)
    rows = [HostedRow(str(at), text, _jpeg(image)) for at, image in enumerate(images)]
    with Host(kind, name, {}) as host:
        return _spent(host.ask, rows)


def _spent(ask: Callable[[Any], object], given: list[Any]) -> dict[str, float]:
    """Milliseconds for each image after the first one."""
    ask(given[:1])
    took, count = timed(lambda: ask(given[1:])), len(given) - 1
    return {"cpu_ms": took.cpu / count * 1000, "wall_ms": took.wall / count * 1000}


def _jpeg(image: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _store(folder: Path) -> None:
    from tests.selection.points import clustered, stored, with_copies

    made, _ = with_copies(clustered(_VECTORS, 1280, 200, seed=3, spread=1.2), _VECTORS // 20, seed=4)
    (folder / "files.json").write_text(json.dumps(stored(folder, made).files))


def _selected(folder: Path, engine: str) -> Sample:
    files = json.loads((folder / "files.json").read_text())
    (folder / "asked.json").write_text(json.dumps([str(folder), files, engine]))
    with (folder / "asked.json").open() as asked:
        return process([sys.executable, "-m", "tests.selection.select_once"], stdin=asked)[0]


if __name__ == "__main__":
    main()
