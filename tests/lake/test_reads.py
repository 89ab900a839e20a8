"""Files are read as often as needed and no more: neighbours of a part, parts of a key, shards of the whole lake."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Lock
from time import sleep
from typing import Any

import pyarrow as pa
import pytest

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.images import duplicates
from kale_tasks.lake import maintain, snapshot
from kale_tasks.lake.commit import discard
from kale_tasks.lake.maintain import Grace, orphans
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import seal
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.settings import Settings
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"


class Pictures(Step):
    """Makes image rows without images: eight parts, all but the first with one picture again and again."""

    name, table = "images", "images"

    def __init__(self, first: str = "") -> None:
        self.first = first  # shard of the first picture, if another run has stored it

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Any]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return [Chunk(index=0, first_part=0, parts=8, stop=8)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part]:
        for n in numbers:
            row = {
                "uid": f"{n:032x}",
                "key": run.key,
                "status": "ok",
                "sha256": "ab" * 32 if n else "cd" * 32,
                "phash": n,
            }
            place = (not n and self.first) or f"{run.folder}/shard-{n:05d}.tar"
            shard = {"shard": place, "offset": 0, "length": 1, "flags": [], "attempts": 1}
            yield Part(n, pa.Table.from_pylist([{**row, **shard}], schema=TABLES["images"].arrow), 1)

    def finalize(self, run: Run, receipts: Mapping[int, Any]) -> Iterator[Part]:
        return duplicates.finalize(run, receipts)


def test_parts_that_ask_for_neighbouring_rows_read_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings = lake_of([*lake_sets("folder", tmp_path), "parts.part_rows=200"])
    execute(Run(Numbers(300), lake, settings, KEY))
    read, original = list[str](), snapshot.read_columns
    monkeypatch.setattr(snapshot, "read_columns", lambda s, path, *of: (read.append(path), original(s, path, *of))[1])
    pairs = Snapshot.open(lake, Partition("pairs", KEY))
    found = [pairs.between(f"{n:032x}", f"{n + 9:032x}", ["text"]) for n in range(0, 300, 10)]
    assert pa.concat_tables(found)["text"].to_pylist() == lake.arrow("pairs", KEY)["text"].to_pylist()
    assert len(read) == len(set(read)) == 1


def test_finalizing_reads_several_parts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings = lake_of([*lake_sets("folder", tmp_path), "images.placeholder_count=5"])
    now, most, lock, original = 0, 0, Lock(), duplicates._read_part

    def slow(*arguments: Any) -> pa.Table:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        sleep(0.05)
        with lock:
            now -= 1
        return original(*arguments)

    monkeypatch.setattr(duplicates, "_read_part", slow)
    run = Run(Pictures(), lake, settings, KEY)
    made = plan(run)
    work(run, made.chunks[0])
    sealed = seal(run, made)
    assert (sealed.rows, sealed.quarantined) == (1, 7)
    assert most >= 4


def test_maintenance_looks_at_the_shards_of_new_runs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings = lake_of([*lake_sets("folder", tmp_path), "images.placeholder_count=100"])
    scanned, original = list[str](), Lake.batches

    def watched(self: Lake, name: str, key: str | None = None, *more: Any, **others: Any) -> Iterator[pa.RecordBatch]:
        scanned.append(f"{name} {key}")
        return original(self, name, key, *more, **others)

    monkeypatch.setattr(Lake, "batches", watched)
    execute(Run(Pictures(), lake, settings, "a"))
    assert maintain._used(lake, "images")[1] >= {_folder(lake, "a")}
    execute(Run(Pictures(), lake, settings, "b"))
    for _ in range(2):
        assert maintain._used(lake, "images")[1] >= {_folder(lake, "a"), _folder(lake, "b")}
    assert scanned == ["images a", "images b"]
    assert not [
        e.path for e in orphans(lake, Grace(-maintain.timedelta(1), -maintain.timedelta(1))) if "shards-of" in e.path
    ]


def test_shards_of_an_earlier_run_stay_when_a_run_is_sealed_again_with_them(tmp_path: Path) -> None:
    """What maintenance knows of a run's shards is of what was sealed, not of the fingerprint alone."""
    lake, settings = lake_of([*lake_sets("folder", tmp_path), "images.placeholder_count=100"])
    execute(Run(Pictures(), lake, settings, KEY))
    committed = lake.committed("images", KEY)
    assert committed and maintain._runs_of_shards(lake, KEY, committed) == {_folder(lake, KEY)}
    # The same fingerprint again, after its files were lost, with a shard that another run has stored.
    for entry in list(lake.storage.entries(_folder(lake, KEY))):
        if "shards-of" not in entry.path:
            lake.storage.delete(entry.path)
    discard(lake, Partition("images", KEY), committed)
    kept = f"images/key={KEY}/{'e' * 20}"
    execute(Run(Pictures(f"{kept}/shard-00000.tar"), lake, settings, KEY))
    again = lake.committed("images", KEY)
    assert again and again.fingerprint == committed.fingerprint and again.seal_id != committed.seal_id
    lake.storage.put(f"{kept}/shard-00000.tar", b"")
    assert maintain._runs_of_shards(lake, KEY, again) >= {_folder(lake, KEY), kept}
    unused = [entry.path for entry in orphans(lake, Grace(-timedelta(1), -timedelta(1)))]
    assert f"{kept}/shard-00000.tar" not in unused


def _folder(lake: Lake, key: str) -> str:
    committed = lake.committed("images", key)
    assert committed
    return f"images/key={key}/{committed.fingerprint}"
