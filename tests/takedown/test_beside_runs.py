"""A takedown of one row in a hundred while two keys are made and a release waits for a person: no trace is left."""

import json
import multiprocessing
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.release.built import read
from kale_tasks.release.publish import publish
from tests.kale import kale
from tests.lakes import settings_of
from tests.release.conftest import World, world
from tests.release.world import fill, uid

_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
SIZES = [(150, 50), pytest.param((75_000, 25_000), marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]


def make(sets: list[str], key: str, rows: int, log: str) -> None:
    """Make a key, in a process of its own that writes a log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    lake = Lake(settings_of(sets))
    fill(lake, lake.settings, [key], rows)


def uids_in(path: Path) -> Iterator[bytes]:
    """Yield what looks like a uid in a file, uncompressed if it is compressed."""
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        yield from _HEX.findall(str(file.metadata.to_dict()).encode())
        for batch in file.iter_batches():
            for column in batch.columns:
                yield from _HEX.findall(str(column.to_pylist()).encode())
    elif path.suffix == ".db":
        yield from _HEX.findall("\n".join(sqlite3.connect(path).iterdump()).encode())
    else:
        yield from _HEX.findall(path.read_bytes())


def traces(folder: Path, removed: set[bytes]) -> dict[str, int]:
    """The files below a folder with one of these uids, and how many of them each has."""
    found = {str(p): len(removed.intersection(uids_in(p))) for p in folder.rglob("*") if p.is_file()}
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("size", SIZES)
def test_a_takedown_beside_two_runs_and_a_waiting_approval_leaves_no_trace(
    size: tuple[int, int], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made, running = size
    scale = ["parts.part_rows=1000", "parts.chunk_rows=10000", "publish.shard_rows=20000"] if made > 1000 else []
    out, more = (
        tmp_path / "out",
        ["publish.formats=[mix,images]", "maintenance.run_days=0", "maintenance.grace_hours=0"],
    )
    it = world("folder", tmp_path, request, f"publish.target={out}", *more, "ingest.lists.evaluation=null",
               "images.evaluation=null", *scale)  # fmt: skip
    it.fill("a", "b", rows=made)
    it.release("d")
    it.publish("d")
    (logs := tmp_path / "logs").mkdir()
    waiting = kale("release", "review", "--key", "d", "--json", sets=it.sets)
    (logs / "approval").write_text(waiting.out + waiting.err)
    gone = {
        key: [uid(key, n) for n in range(1 + rows // 100)]
        for key, rows in zip("abcd", [made] * 2 + [running] * 2, strict=True)
    }
    removed = {name.encode() for names in gone.values() for name in names}
    assert traces(tmp_path, removed)

    spawn = multiprocessing.get_context("spawn")
    runs = [spawn.Process(target=make, args=(it.sets, key, running, str(logs / key))) for key in "cd"]
    for run in runs:
        run.start()
    name = taken(it, [one for names in gone.values() for one in names], logs)
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    with pytest.raises(Conflict, match=r"Rows were taken down since|is not published"):
        publish(it.lake, it.settings, "d", Silent(), waiting.json["version"])
    ended(it, name, logs)

    assert traces(tmp_path, removed) == {}
    left = {n for key in "abcd" for n in it.lake.arrow("captions", key)["uid"].to_pylist()}
    kept = {uid(key, n) for key, rows in zip("abcd", [made] * 2 + [running] * 2, strict=True) for n in range(rows)}
    assert left == {name for name in kept if name.encode() not in removed}
    assert read(it.lake, "d").rows("full") == len(left)


def taken(it: World, names: list[str], logs: Path) -> str:
    """Take rows down as a person does: by a file that is deleted afterwards."""
    listed = logs / "requests.txt"
    listed.write_text("\n".join(names))
    answer = kale("takedown", "--list", str(listed), "--json", sets=[*it.sets, "log=plain"])
    listed.unlink()
    (logs / "takedown").write_text(answer.out + answer.err)
    assert answer.code == 0, answer.err
    return str(answer.json["name"])


def ended(it: World, name: str, logs: Path) -> None:
    """Release, publish, and let maintenance end what is due."""
    it.release("d")
    it.publish("d")
    answer = kale("maintain", "--json", sets=[*it.sets, "log=plain"])
    (logs / "maintain").write_text(answer.out + answer.err)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["takedowns"] == {name: ""}
