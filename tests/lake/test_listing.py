"""Files are listed from manifests that a process reads once, and are those that Iceberg's own scan finds."""

from pathlib import Path

import pytest

from kale_tasks.lake import listing, manifests
from kale_tasks.lake.commit import discard
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEYS = [f"k{i:02d}" for i in range(9)]
NAMES = ("pairs", "dedup_index", "quarantine", "runs")
Opened = tuple[Lake, Settings]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A lake whose manifests are merged early."""
    monkeypatch.setattr(manifests, "_FAN_IN", 3)
    monkeypatch.setattr(listing, "_known", type(listing._known)())
    return lake_of(lake_sets("folder", tmp_path))


def manifests_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the address of each manifest that is read from now on."""
    read, original = list[str](), listing._read
    monkeypatch.setattr(listing, "_read", lambda *of: (read.append(of[-1].manifest_path), original(*of))[1])
    return read


def scanned(lake: Lake, name: str, snapshot: int) -> set[str]:
    found = lake.table(name).scan(snapshot_id=snapshot).plan_files()
    return {lake.storage.relative(task.file.file_path) for task in found}


def change(lake: Lake, settings: Settings) -> None:
    """Commit keys, replace some, take one out, and leave one empty."""
    for key in KEYS:
        execute(Run(Numbers(20, salt=key), lake, settings, key))
    for key in KEYS[::4]:
        execute(Run(Numbers(12, salt="new"), lake, settings, key))
    execute(Run(Numbers(0), lake, settings, KEYS[5]))
    committed = lake.committed("pairs", KEYS[2])
    assert committed
    discard(lake, Partition("pairs", KEYS[2]), committed)


@pytest.mark.parametrize(
    "kept", [pytest.param(1 << 16, id="all", marks=pytest.mark.nightly), pytest.param(5, id="few")]
)
def test_every_snapshot_has_the_files_that_a_scan_finds(
    kept: int, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MOST", kept)
    change(*opened)
    lake = opened[0]
    for name in NAMES:
        for snapshot in lake.table(name).snapshots():
            files = lake.files_at(name, snapshot.snapshot_id)
            assert {f.path for some in files.values() for f in some} == scanned(lake, name, snapshot.snapshot_id)
        for partition, (committed, files_of_it) in lake.opened_all(name).items():
            assert lake.opened(partition) == (committed, files_of_it)
            assert list(files_of_it) == lake.files(name, partition.key, partition.columns)
            assert sum(file.rows for file in files_of_it) == committed.rows
    assert sum(map(len, listing._known.values())) <= kept + 2 * len(KEYS)


def test_after_the_commit_of_another_process_only_new_manifests_are_read(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = opened
    for key in KEYS:
        execute(Run(Numbers(20, salt=key), lake, settings, key))
    read = manifests_read(monkeypatch)
    listing._known.clear()
    before = lake.opened_all("pairs")
    assert len(read) == len(set(read)) > 1
    read.clear()
    execute(Run(Numbers(20, salt="other"), *lake_of_same(settings), "l"))
    listed = lake.opened_all("pairs")
    assert listed.keys() - before.keys() == {Partition("pairs", "l")}
    of_pairs = [path for path in read if "/pairs/" in path]
    assert len(of_pairs) <= 2  # the new one, and one that merges others


def lake_of_same(settings: Settings) -> Opened:
    return Lake(settings), settings


def test_the_files_of_a_key_are_found_without_the_manifests_of_others(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = opened
    for key in KEYS[:2]:
        execute(Run(Numbers(20, salt=key), lake, settings, key))
    read = manifests_read(monkeypatch)
    listing._known.clear()
    found = lake.files("pairs", KEYS[0])
    assert [type(file) for file in found] == [DataFile] and f"/key={KEYS[0]}/" in found[0].path
    assert len(read) == 1


def test_a_slice_may_be_given_in_part_and_as_text(opened: Opened) -> None:
    lake, settings = opened
    execute(Run(Numbers(20), lake, settings, KEYS[0]))
    whole = lake.files("quarantine", KEYS[0], {"step": "ingest"})
    assert whole and lake.files("quarantine", KEYS[0]) == whole == lake.files("quarantine", None, {"step": "ingest"})
    assert not lake.files("quarantine", KEYS[0], {"step": "images"})
    assert not lake.files("captions", KEYS[0], {"stage": "1"})
