"""Metadata files are parsed once by a process, and copies share snapshots; nothing stale or deleted is served."""

from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import pytest

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
    parsed, original = list[str](), metadata._parse
    monkeypatch.setattr(
        metadata, "_parse", lambda file, *more: (parsed.append(file.location), original(file, *more))[1]
    )
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


def test_metadata_of_another_process_shares_the_snapshots_that_are_known(tmp_path: Path) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    for number in range(3):
        execute(Run(Numbers(salt=f"{number}"), lake, settings, "2026-11-01"))
    before = lake.table("pairs")
    expire(lake, timedelta(days=-1))
    execute(Run(Numbers(), lake, settings, "2026-11-02"))
    location = lake.table("pairs").metadata_location
    metadata._parsed.clear()
    alone = metadata._parse(before.io.new_input(location))
    metadata._keep(before.metadata_location, before.metadata)
    beside = lake.table("pairs").metadata
    assert beside == alone and beside.model_dump_json() == alone.model_dump_json()
    assert len(beside.snapshots) == 2 and beside.snapshots[0].parent_snapshot_id is None
    execute(Run(Numbers(), lake, settings, "2026-11-03"))
    known, newest = lake.table("pairs").metadata, lake.table("pairs").metadata_location
    metadata._parsed.clear()
    metadata._keep(location, beside)
    assert lake.table("pairs").metadata == known and newest not in (location, before.metadata_location)
    assert [one is other for one, other in zip(lake.table("pairs").snapshots(), beside.snapshots, strict=False)] == [
        True, True
    ]  # fmt: skip
