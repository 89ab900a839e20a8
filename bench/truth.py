"""Copies found and facts merged, by class of the truth sets of the tests: ingest, datatrove and rensa, by default.

    python -m bench.truth

A case counts as merged if any of its lines is dropped. Three minutes. The table goes to bench/truth.md.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.dedup import ROOT, _peer
from bench.frame import Page
from tests.ingest.test_second_truth import lines as second
from tests.ingest.test_second_truth import rates
from tests.ingest.test_truth import OPEN
from tests.ingest.truth import FIRST, SECOND, Line, lines
from tests.ingest.world import ingest, kept, settings_for

KEY = "2026-11-01"
SETS: dict[str, Callable[[], Sequence[Line]]] = {
    "first": lambda: list(lines(FIRST)),
    "first, other words": lambda: list(lines(SECOND)),
    "second": lambda: list(second()),
}


def ours(policy: str) -> Callable[[Path], set[int]]:
    """Ingest with the defaults but the rules off."""

    def left(folder: Path) -> set[int]:
        rules = (f"ingest.rules.{rule}" for rule in OPEN)
        settings = settings_for(folder, *rules, "ingest.lists.nsfw=null", f"ingest.dedup.policy={policy}")
        ingest(settings)
        return {_number(row["url"]) for row in kept(settings)}

    return left


def datatrove(folder: Path) -> set[int]:
    """datatrove's four stages with its defaults."""
    out = folder / "datatrove"
    _peer(".venv-bench", ROOT / "bench/peers/datatrove_dedup.py", folder / "landing" / KEY, out, "defaults")
    files = (out / "kept").glob("*.parquet")
    return {_number(row["url"]) for path in files for row in pq.read_table(path)["metadata"].to_pylist()}


def rensa(folder: Path) -> set[int]:
    """rensa's deduplicator as it documents it: words as tokens, a threshold of 0.8, 128 permutations."""
    from rensa import RMinHashDeduplicator

    texts = pq.read_table(folder / "landing" / KEY / "rows.parquet")["text"].to_pylist()
    index = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True)
    kept_ = index.add_pairs([(str(number), text.split()) for number, text in enumerate(texts)])
    return {number for number, stays in enumerate(kept_) if stays}


CONTENDERS = {"facts (default)": ours("facts"), "off": ours("off"), "datatrove": datatrove, "rensa": rensa}


def _number(url: str) -> int:
    return int(url.rpartition("/")[2].removesuffix(".jpg"))


def main() -> None:
    page = Page("truth", "Copies and facts", str(__doc__), ["rensa", "duckdb"])
    for name, make in SETS.items():
        known, found = make(), dict[str, dict[tuple[str, str], float]]()
        with tempfile.TemporaryDirectory() as place:
            landing = Path(place, "landing", KEY)
            landing.mkdir(parents=True)
            urls = [f"https://{line.host}/{number}.jpg" for number, line in enumerate(known)]
            pq.write_table(pa.table({"url": urls, "text": [line.text for line in known]}), landing / "rows.parquet")
            for contender, run in CONTENDERS.items():
                folder = Path(place, contender.partition(" ")[0])
                folder.mkdir()
                (folder / "landing").symlink_to(landing.parent)
                found[contender] = rates(known, run(folder))
        for kind in ("copies", "facts"):
            page.text(f"## Set {name}: {'copies found' if kind == 'copies' else 'facts merged'}")
            classes = [of for of in found["datatrove"] if of[0] == kind]
            cells = [[f"{found[c][of]:.3f}" for c in CONTENDERS] for of in classes]
            page.table(("class", *CONTENDERS), [(of[1], *some) for of, some in zip(classes, cells, strict=True)])
    page.write()


if __name__ == "__main__":
    main()
