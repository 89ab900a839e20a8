"""Measures the release: shards against bare pyarrow, the Hub against `upload_folder`, a takedown of one in a hundred.

`python -m bench.publish` writes bench/publish.md. Both uploads talk to the same local server, in a process of its own.
"""

import argparse
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from bench.frame import Page
from bench.uploads import uploads
from kale_tasks.bench.measure import Series, in_turns, ratio, timed
from kale_tasks.contract.step import Input, Step, part_span, row_chunks
from kale_tasks.contract.types import Part

os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_test"}
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


def main() -> None:
    """Write all three to one page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=200_000, help="captions of the measured lake")
    options.add_argument("--mb", type=int, default=200, help="megabytes that go to the Hub")
    given = options.parse_args()
    page = Page("publish", "Release", _ABOUT, ["pyarrow", "huggingface-hub"])
    place = Path(tempfile.mkdtemp(prefix="kale-bench-"))
    try:
        rows = [
            *shards(page, place / "shards", given.rows),
            *uploads(page, given.mb),
            *takedown(place / "take", given.rows),
        ]
    finally:
        shutil.rmtree(place)
    page.table(["what", "wall s", "CPU s", "machine", "note"], rows)
    page.write()


_ABOUT = """
By `python -m bench.publish`. `kale publish` looks at what is published before it sends anything, and sets a tag at the
end: that is what it loses by when there is little to send. The server answers at once; a Hub at a distance makes each
of these requests cost a round trip. A ratio is the bare tool's time divided by ours; of a small upload it is the time
that `kale publish` may take, which is 0.2 s more than the bare tool's, divided by what it takes. The server speaks LFS:
`kale publish` hashes a file while it sends it, `upload_folder` before. All files are in memory, so that no disk counts.
"""
Row = tuple[object, ...]


class Wordy(Step):
    """Captions as long as real ones: 65 words, a dense caption of 60, an alt-text of 10."""

    name: ClassVar[str] = "fuse"
    table: ClassVar[str] = "captions"
    slice: ClassVar[Mapping[str, Any]] = {"recipe": "kale", "stage": 1}

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def config(self, settings: Any) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Any, settings: Any, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Any) -> Any:
        return row_chunks(run.settings, self.rows)

    def work(self, run: Any, chunk: Any, numbers: Sequence[int]) -> Iterator[Part]:
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            yield Part(number, _wordy(run.key, start, stop), stop - start)


def _wordy(key: str, start: int, stop: int) -> pa.Table:
    chance = random.Random(start)
    vocabulary = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(4000)]
    usual = [1 / (i + 10) for i in range(4000)]  # as words are: few are frequent

    def texts(words: int) -> list[str]:
        return [" ".join(chance.choices(vocabulary, usual, k=words)) for _ in range(start, stop)]

    rows = stop - start
    return pa.table({
        "uid": [f"{n:032x}" for n in range(start, stop)], "key": [key] * rows,
        "stage": pa.array([1] * rows, pa.int32()), "alt_text": texts(10), "dense_caption": texts(60),
        "url": [f"https://host.example/{chance.getrandbits(64):x}.jpg" for _ in range(rows)],
        "sha256": [chance.randbytes(32).hex() for _ in range(rows)],
        "caption": texts(65), "recipe": ["kale"] * rows, "models": [["captioner@1", "fuser@1"]] * rows,
        "prompt_hash": ["0123456789abcdef"] * rows, "flags": pa.array([[]] * rows, pa.list_(pa.string())),
    })  # fmt: skip


def shards(page: Page, folder: Path, rows: int) -> Iterator[Row]:
    """The release's files, and the whole step, beside a bare `write_table` of the same rows."""
    from kale_tasks.release.formats.base import CAPTION_COLUMNS
    from kale_tasks.release.step import Release
    from kale_tasks.runner.run import Run
    from kale_tasks.runner.verbs import execute
    from tests.release.world import release

    lake, settings = _lake(folder, 0, keys=[])
    execute(Run(Wordy(rows), lake, settings, "a"))
    table = lake.arrow("captions").combine_chunks()
    plain, numbers = table.select(list(CAPTION_COLUMNS)), count(500_000)

    def changed() -> Any:  # other settings each time, or there is nothing to do
        return settings.model_copy(
            update={"publish": settings.publish.model_copy(update={"shard_rows": next(numbers)})}
        )

    turns = {
        "bare": lambda: pq.write_table(plain, folder / "x.parquet", compression="zstd", row_group_size=10_000),
        "files": lambda: _write(Run(Release(), lake, changed(), "a"), table, folder),
        "step": lambda: release(lake, changed(), "a"),
    }
    found = in_turns({name: lambda act=act: timed(lambda: (act(), None)[1]) for name, act in turns.items()}, 3)
    for name in ("files", "step"):
        page.ratio(f"{name}_cpu", ratio(found["bare"], found[name], lambda sample: sample.cpu))
        page.ratio(f"{name}_wall", ratio(found["bare"], found[name], lambda sample: sample.wall))
    size = f"{plain.nbytes / 1e6:.0f} MB"
    yield f"bare pyarrow write of {rows} captions, {size}", *found["bare"].cells, ""
    yield "the release's files from the same rows", *found["files"].cells, "also counts, hashes, syncs"
    yield "the whole step", *found["step"].cells, f"also reads {rows // 1000} parts and commits"


def _write(run: Any, table: pa.Table, folder: Path) -> None:
    from kale_tasks.release.files import ShardWriter
    from kale_tasks.release.formats.base import StoredImages
    from kale_tasks.release.registry import find_format
    from kale_tasks.release.shards import shards_of

    writer, images = ShardWriter(run, shards_of(run)[0], find_format("captions"), folder), StoredImages(run.lake, None)
    for start in range(0, table.num_rows, 10_000):
        list(writer.add(table.slice(start, 10_000), images))
    list(writer.close())


def takedown(folder: Path, rows: int) -> Iterator[Row]:
    """One row in a hundred, from every table, shard, release and old snapshot."""
    from kale_tasks.lake.tombstones import digest
    from kale_tasks.progress import Silent
    from kale_tasks.release.publish import publish
    from kale_tasks.takedown.certificate import finish, traces
    from kale_tasks.takedown.sweep import take_down
    from tests.release.world import pipeline, release, uid

    half = rows // 2
    lake, settings = _lake(folder, half, keys=["a", "b"])
    release(lake, settings, "b")
    publish(lake, settings, "b", Silent())
    gone = [uid("a", n) for n in range(rows // 100)]
    untouched = lake.arrow("captions", "b")
    records: list[Any] = []

    def publish_again() -> None:
        release(lake, settings, "b")
        publish(lake, settings, "b", Silent())

    acts = [
        lambda: records.append(take_down(lake, settings, {"uid": gone}, pipeline(half), Silent())),
        publish_again,
        lambda: finish(lake, settings, records[0], now=True),
    ]
    spent = [Series([timed(lambda act=act: (act(), None)[1])]).cells for act in acts]
    left = traces(lake, {digest("uid", name) for name in gone})
    same = lake.arrow("captions", "b") == untouched
    what = f"takedown of {len(gone)} rows of {rows} (all of one key of two)"
    yield what, *spent[0], "every part of that key is rewritten"
    yield "the release without them, published", *spent[1], "the other key's files are reused"
    yield "end: expiry, deletion, search of every file", *spent[2], f"{len(left)} traces; other key untouched: {same}"


def _lake(folder: Path, rows: int, keys: list[str]) -> tuple[Any, Any]:
    from kale_tasks.lake.tables import Lake
    from kale_tasks.settings import load
    from tests.release.world import fill

    sets = [
        f"warehouse={folder / 'warehouse'}", f"publish.target={folder / 'out'}", "caption.recipe=kale",
        "publish.shard_rows=500000", "publish.takedown_days=0", "parts.part_rows=1000", "parts.chunk_rows=40000",
        "maintenance.grace_hours=0", "maintenance.run_days=0",
    ]  # fmt: skip
    settings = load(sets, environ={}).settings
    lake = Lake(settings)
    fill(lake, settings, keys, rows)
    return lake, settings


if __name__ == "__main__":
    main()
