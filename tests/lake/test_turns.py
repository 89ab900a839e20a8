"""Commits of many keys at once go one after the other, and nobody waits for long for one that has stopped."""

import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import Conflict
from kale_tasks.lake import commit
from kale_tasks.lake.storage import folder
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEYS = [f"k{number:02d}" for number in range(24)]


def refused(lake: Lake, name: str) -> int:
    """Count the commits to a table that others were faster than: their metadata was written and is in no log."""
    table = lake.table(name)
    kept = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    written = {str(path) for path in Path(lake.storage.root, name, "metadata").glob("*.metadata.json")}
    return len(written - kept)


def test_of_commits_at_once_few_are_refused(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    lake = lake_of(sets)[0]
    for name in ("pairs", "dedup_index", "quarantine", "runs"):
        lake.table(name)

    def commit_some(keys: list[str]) -> None:
        own = lake_of(sets)
        for key in keys:
            execute(Run(Numbers(20, salt=key), *own, key))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(commit_some, (KEYS[start::8] for start in range(8))))
    assert lake.keys("pairs") == lake.keys("dedup_index") == lake.keys("runs") == KEYS
    assert len(lake.arrow("pairs")) == len(KEYS) * 16
    assert sum(refused(lake, name) for name in ("pairs", "dedup_index", "quarantine", "runs")) <= len(KEYS) // 4


def test_a_commit_does_not_wait_for_long_for_one_that_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_LONGEST_WAIT", 0.2)
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    with lake.storage.turn("pairs"):
        execute(Run(Numbers(20), lake, settings, "k"))
    assert lake.keys("pairs") == ["k"]


def test_a_commit_that_is_refused_again_and_again_says_what_else_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged manifest, beside others who commit all the time: that these do is not the whole cause."""
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(20), lake, settings, "k"))
    (damaged,) = {path for path in Path(lake.storage.root, "pairs/metadata").glob("*-m0.avro")}
    damaged.write_bytes(damaged.read_bytes().replace(b"avro.codec", b"avro.codex"))
    others, replace_rows = iter("abc"), commit._replace

    def beside_others(*of: Any) -> Committed:
        if of[2].table == "pairs" and of[2].key == "k":
            execute(Run(Numbers(3), Lake(settings), settings, next(others)))
        return replace_rows(*of)

    monkeypatch.setattr(commit, "_TRIES", 3)
    monkeypatch.setattr(commit, "_LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(commit, "_replace", beside_others)
    with pytest.raises(Conflict, match=r"3 attempts to commit to pairs failed, .* One of them said ") as raised:
        execute(Run(Numbers(30), lake, settings, "k"))
    assert isinstance(raised.value.__cause__, ValueError) and str(raised.value.__cause__) in str(raised.value)
    assert lake.keys("pairs") == ["a", "b", "c", "k"]


def test_a_process_that_was_forked_in_a_turn_does_not_keep_it(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    with storage.turn("pairs"):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
    try:
        with (tmp_path / "turns/pairs").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
