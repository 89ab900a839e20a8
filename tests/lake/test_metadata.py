"""What metadata says is parsed once by a process, and copies share snapshots; nothing stale or deleted is served."""

import json
from collections import OrderedDict
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg import manifest
from pyiceberg import table as iceberg

from kale_tasks.errors import BadData
from kale_tasks.lake import metadata
from kale_tasks.lake.maintain import expire
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers


def test_a_metadata_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    metadata._parsed.clear()  # as in another process: what this one wrote it need not parse
    parsed, original = list[str](), metadata._parse_new
    monkeypatch.setattr(metadata, "_parse_new", lambda file: (parsed.append(file.location), original(file))[1])
    execute(Run(Numbers(), lake, settings, "2026-11-02"))
    assert len(lake.keys("pairs")) == 2
    assert parsed
    assert len(parsed) == len(set(parsed))


def test_the_commit_of_another_process_is_seen(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    (lake, settings), (other, _) = lake_of(sets), lake_of(sets)
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    assert other.keys("pairs") == ["2026-11-01"]
    execute(Run(Numbers(), lake, settings, "2026-11-02"))
    assert other.keys("pairs") == ["2026-11-01", "2026-11-02"]


def test_a_metadata_file_that_is_gone_is_noticed(tmp_path: Path) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    assert lake.keys("pairs")
    for file in (tmp_path / "warehouse" / "pairs" / "metadata").glob("*.json"):
        file.unlink()
    with pytest.raises(BadData, match="is gone"):
        lake.keys("pairs")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"snapshots": [1]}', '{"format-version": 9, "snapshots": []}'])
def test_metadata_that_is_damaged_is_refused_beside_what_is_known(text: str, tmp_path: Path) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    execute(Run(Numbers(), lake, settings, "2026-11-02"))
    location = lake.table("pairs").metadata_location
    del metadata._parsed[location]
    Path(location).write_text(text)
    with pytest.raises(BadData, match="metadata of pairs cannot be read"):
        lake.keys("pairs")


def test_a_copy_of_metadata_shares_its_snapshots(tmp_path: Path) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    known = lake.table("pairs").metadata
    copy = deepcopy(known)
    assert copy.snapshots[0] is known.snapshots[0]
    copy.snapshots.clear()
    assert known.snapshots


def as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which files were parsed or written, but not what was in them."""
    monkeypatch.setattr(metadata, "_parsed", OrderedDict())


def test_metadata_of_another_process_shares_the_snapshots_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    for number in range(3):
        execute(Run(Numbers(salt=f"{number}"), lake, settings, "2026-11-01"))
    as_another_process(monkeypatch)
    known = {snapshot.snapshot_id: snapshot for snapshot in lake.table("pairs").snapshots()}
    execute(Run(Numbers(), lake, settings, "2026-11-02"))
    as_another_process(monkeypatch)
    *before, new = lake.table("pairs").snapshots()
    assert all(snapshot is known[snapshot.snapshot_id] for snapshot in before) and len(before) == len(known)
    assert new.snapshot_id not in known


def test_metadata_is_the_same_for_a_process_that_knows_some_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    for number in range(3):
        execute(Run(Numbers(salt=f"{number}"), lake, settings, "2026-11-01"))
    written = lake.table("pairs").metadata
    as_another_process(monkeypatch)
    assert lake.table("pairs").metadata == written
    expire(lake, timedelta(days=-1))
    execute(Run(Numbers(), lake, settings, "2026-11-02"))
    as_another_process(monkeypatch)
    table = lake.table("pairs")
    assert table.metadata == metadata._parse(table.io.new_input(table.metadata_location))
    assert len(table.snapshots()) == 2 and table.snapshots()[0].parent_snapshot_id is None


def test_a_file_of_another_library_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    table = lake.table("pairs")
    values = json.loads(Path(table.metadata_location).read_text())
    for text in (json.dumps(values, indent=1), json.dumps({**values, "x": [{"y": 1}]}, separators=(",", ":"))):
        Path(table.metadata_location).write_text(text)
        as_another_process(monkeypatch)
        assert lake.table("pairs").metadata == table.metadata


def test_a_commit_reads_a_list_of_manifests_once_and_applies_a_change_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    execute(Run(Numbers(), lake, settings, "2026-11-01"))
    read, applied = list[str](), list[Any]()
    for module, name, note in (
        (manifest, "read_manifest_list", lambda file: read.append(file.location)),
        (iceberg, "update_table_metadata", lambda *of: applied.append(of)),
    ):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *of, note=note, original=original: (note(*of), original(*of))[1])
    execute(Run(Numbers(salt="other"), lake, settings, "2026-11-01"))
    assert read and len(read) == len(set(read))
    commits = {change[0].location for change in applied}
    assert commits and len(applied) <= 4 * len(commits)  # nothing, the record, the files, and for the snapshots kept
