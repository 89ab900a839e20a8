"""What the index of earlier keys costs one more key of 20,000 rows beside ever more keys of as many rows.

    python -m bench.index --keys 10 100 300

The lake grows by real commits of one row and a whole index each, and each key makes the segments that its ingest would
make. The table goes to bench/index.md.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.frame import Page
from bench.keys import key_of
from kale_tasks.bench.measure import Ratio, Sample, Series, ratio, timed
from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.index import INDEX
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.segments import FOLDER, MOST_ENTRIES, Segment, _to_bytes, find, segments_of
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.settings import Settings, load

ROWS, KINDS = 20_000, ("uid", "url", "sha256", "facts")


class Indexed(Step):
    """Commits one row for a key, and an index as 20,000 kept rows have it."""

    name, table, also = "ingest", "pairs", (INDEX,)

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    side_table = "dedup_index"

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return [Chunk(index=0, first_part=0, parts=1, stop=1)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        uid = f"{abs(hash(run.key)):032x}"[:32]
        row = {"uid": [uid], "key": [run.key], "text": ["a row"], "alt_text": ["a row"], "split": ["stage1"]}
        yield Part(0, pa.table(row | {"url": ["https://p.example/1.jpg"]}), 1, also={INDEX: _index(run.key)})


def _index(key: str) -> pa.Table:
    rng = np.random.default_rng(abs(hash(key)))
    names = [f"{number:032x}" for number in np.sort(rng.integers(0, 2**62, ROWS))]
    count = ROWS * len(KINDS)
    return pa.table(
        {
            "uid": np.repeat(names, len(KINDS)),
            "key": pa.repeat(key, count),
            "kind": list(KINDS) * ROWS,
            "hash": rng.integers(-(2**63), 2**63 - 1, count),
        }
    )


def earlier(lake: Lake) -> dict[str, Snapshot]:
    """Open the index of all keys."""
    return {partition.key: index for partition, index in Snapshot.open_all(lake, INDEX).items()}


def search(lake: Lake) -> None:
    """Do what ingest does with the index: open it, make the segments that are missing, look for 80,000 hashes."""
    hashes = np.sort(np.random.default_rng(1).integers(-(2**63), 2**63 - 1, ROWS * len(KINDS)))
    for segment in segments_of(earlier(lake)):
        find(lake.storage, segment, hashes)


def grow(lake: Lake, settings: Settings, start: int, stop: int) -> tuple[float, float]:
    """Commit keys, and let each search before it; CPU seconds a key of commits and of searches with their merges."""
    spent = [0.0, 0.0]
    for number in range(start, stop):
        spent[0] += timed(lambda: search(lake)).cpu
        spent[1] += timed(lambda n=number: execute(Run(Indexed(), lake, settings, key_of(n)))).cpu  # type: ignore[misc]
    return spent[1] / (stop - start), spent[0] / (stop - start)


def large(folder: Path, entries: int) -> Iterator[tuple[str, Sample]]:
    """Make a segment as large as they get of four, and search it for the hashes of a key of five million rows."""
    storage, rng = FolderStorage(folder), np.random.default_rng(2)
    parts = [_stored_part(storage, rng, number, entries // 4) for number in range(4)]
    whole = Segment(tuple(file for part in parts for file in part.files), entries, 1, tuple(parts))
    yield f"merge {entries:,} entries", timed(lambda: find(storage, whole, np.empty(0, np.int64)))
    hashes = np.unique(rng.integers(-(2**63), 2**63 - 1, 5_000_000 * len(KINDS) * 65 // 100))
    yield f"search them for {len(hashes):,} hashes", timed(lambda: find(storage, whole, hashes))


def _stored_part(storage: FolderStorage, rng: np.random.Generator, number: int, entries: int) -> Segment:
    """Store a segment of random hashes."""
    segment = Segment(((f"k{number}", f"part-{number}"),), entries)
    codes = {"kind": pa.int8(), "key": pa.int16()}
    columns = {"hash": pa.array(np.sort(rng.integers(-(2**63), 2**63 - 1, entries)))}
    columns |= {"filter": pa.array(np.zeros(entries, np.uint8))}  # which is made for the whole only
    columns |= {
        name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(entries, np.int8)).cast(code), [f"{name}{number}"])
        for name, code in codes.items()
    }
    table = pa.table(columns)
    storage.put(segment.path, _to_bytes(table))
    return segment


def land(settings: Settings, key: str) -> None:
    """Deliver rows for a key."""
    from bench.keys import land as lines

    lines(settings, key, key, ROWS)


def make(lake: Lake, settings: Settings, key: str) -> None:
    """Make the parts of a key without committing them."""
    run = Run(Ingest(), lake, settings, key)
    work(run, plan(run).chunks[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--rounds", type=int, default=3)
    of = parser.parse_args()
    page = Page("index", "The index of earlier keys", str(__doc__), ["pyiceberg", "pyarrow", "duckdb"])
    lines, found, whole = list[tuple[object, ...]](), dict[int, dict[str, Series]](), dict[int, float]()
    with tempfile.TemporaryDirectory() as place:
        settings = load(
            [f"warehouse={place}/lake", f"landing={place}/landing", "ingest.workers=1", "ingest.lists.evaluation=null"],
            environ={},
        ).settings
        lake = Lake(settings)
        for start, keys in pairwise([0, *of.keys]):
            commit, merged = grow(lake, settings, start, keys)
            search(lake)  # makes the segment of the last key
            known = earlier(lake)
            rounds: dict[str, list[Sample]] = {"open": [], "search": [], "plan and work of ingest": []}
            for turn in range(of.rounds):
                rounds["open"].append(timed(lambda: earlier(lake) and None))
                rounds["search"].append(timed(lambda: search(lake)))
                key = key_of(5000 + 10 * keys + turn)
                land(settings, key)
                rounds["plan and work of ingest"].append(timed(lambda key=key: make(lake, settings, key)))  # type: ignore[misc]
            found[keys] = {name: Series(samples) for name, samples in rounds.items()}
            whole[keys] = merged + commit
            stored = sum(entry.size for entry in lake.storage.entries(FOLDER)) / 1e6
            tables = sum(entry.size for entry in lake.storage.entries(INDEX)) / 1e6 - stored
            segments = len(segments_of(known))
            lines += [(keys, name, *series.cells) for name, series in found[keys].items()]
            lines.append((keys, "search with merges, mean while growing", "", f"{merged:.2f}", ""))
            lines.append((keys, "commit, mean while growing", "", f"{commit:.2f}", ""))
            page.text(f"{keys} keys: {segments} segments, {stored:.0f} MB with older ones; index: {tables:.0f} MB.")
    with tempfile.TemporaryDirectory() as place:
        lines += [("", what, *Series([sample]).cells) for what, sample in large(Path(place), MOST_ENTRIES)]
    page.table(("keys", "what", "wall seconds", "CPU seconds", "machine"), lines)
    page.text(
        "Ratios are CPU seconds beside the fewest keys over those beside more; `a_key`: search, merges and commit."
    )
    few = of.keys[0]
    for keys in of.keys[1:]:
        for name in ("open", "search", "plan and work of ingest"):
            page.ratio(f"{name.replace(' ', '_')}_{keys}", ratio(found[few][name], found[keys][name], _cpu))
        longest = found[keys]["plan and work of ingest"]  # too short a time shows nothing of what others used
        page.ratio(f"a_key_{keys}", Ratio([whole[few] / whole[keys]], longest.busy))
    page.write()


def _cpu(sample: Sample) -> float:
    return sample.cpu


if __name__ == "__main__":
    main()
