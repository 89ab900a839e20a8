"""What a commit writes stays small, however many keys a lake has."""

import json
import time
from pathlib import Path

import pytest
from pyiceberg.expressions.visitors import _ManifestEvalVisitor
from pyiceberg.manifest import ManifestFile

from kale_tasks.lake import commit, manifests
from kale_tasks.lake.tables import COMMITTED, Committed, Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEYS = [f"k{i:03d}" for i in range(14)]
REPLACED = set(KEYS[3::5])
Opened = tuple[Lake, Settings]


def listed(lake: Lake, name: str) -> list[ManifestFile]:
    table = lake.table(name)
    snapshot = table.current_snapshot()
    assert snapshot
    return snapshot.manifests(table.io)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A lake of keys of one commit each, some of which were replaced; four small manifests are merged."""
    lake, settings = lake_of(lake_sets("folder", tmp_path_factory.mktemp("grown")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "_FAN_IN", 4)
        patch.setattr(manifests, "_ENOUGH", 12)
        for key in KEYS:
            execute(Run(Numbers(3, salt=key), lake, settings, key))
        for key in sorted(REPLACED):
            execute(Run(Numbers(4, salt=f"new {key}"), lake, settings, key))
    return lake, settings


@pytest.mark.parametrize("name", ["pairs", "dedup_index", "runs"])
def test_manifests_of_earlier_commits_are_merged(grown: Opened, name: str) -> None:
    found = listed(grown[0], name)
    assert len(found) <= 2 + 3 + 3  # of the last commit, of single files, of some files
    assert max(manifest.existing_files_count or 0 for manifest in found) >= 3
    assert sum(manifest.has_added_files() or manifest.has_existing_files() for manifest in found) >= len(found) - 1


def test_merging_loses_and_doubles_no_row(grown: Opened) -> None:
    lake = grown[0]
    texts = sorted(lake.arrow("pairs")["alt_text"].to_pylist())
    old = [f"{key}{v}" for key in KEYS if key not in REPLACED for v in (1, 2)]
    assert texts == sorted([*old, *(f"new {key}{v}" for key in REPLACED for v in (1, 2, 3))])
    assert [partition.key for partition in lake.partitions("pairs")] == KEYS
    for key in (KEYS[0], KEYS[3], KEYS[-1]):
        assert sum(file.rows for file in lake.files("pairs", key)) == lake.committed("pairs", key).rows  # type: ignore[union-attr]


def test_threads_that_look_at_manifests_at_once_do_not_mix_them_up(
    grown: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is replaced even if every look at the bounds of a manifest is interrupted by another thread."""

    def bounds(self: _ManifestEvalVisitor) -> object:
        time.sleep(0.005)
        return vars(self)["bounds"]

    def keep(self: _ManifestEvalVisitor, value: object) -> None:
        vars(self)["bounds"] = value

    monkeypatch.setattr(_ManifestEvalVisitor, "partition_fields", property(bounds, keep), raising=False)
    lake, settings = grown
    for key in sorted(REPLACED):
        before = lake.committed("pairs", key)
        execute(Run(Numbers(4, salt=f"again {key}"), lake, settings, key))
        assert lake.committed("pairs", key) != before
        assert len(lake.files("pairs", key)) == 1
        execute(Run(Numbers(4, salt=f"new {key}"), lake, settings, key))


def test_another_reader_of_the_table_sees_the_same_files(grown: Opened) -> None:
    lake = grown[0]
    metadata = json.loads(Path(lake.table("pairs").metadata_location).read_text())
    total = metadata["snapshots"][-1]["summary"]["total-data-files"]
    assert int(total) == len(lake.files("pairs")) == len(KEYS)


def test_a_property_of_a_key_is_short_and_reads_back(grown: Opened) -> None:
    lake = grown[0]
    table = lake.table("pairs")
    texts = [text for name, text in table.properties.items() if name.startswith(COMMITTED)]
    assert max(map(len, texts)) < 400
    assert {Committed.from_property(text).as_property() for text in texts} == set(texts)
    assert all(one.identity and one.origin for one in lake.partitions("pairs").values())


def test_a_property_of_an_earlier_version_is_read() -> None:
    known = {"fingerprint": "f", "content": "c", "rows": 1, "parts": 1, "snapshot_id": 2, "at": "2026-11-01T00:00:00"}
    found = Committed.from_property(json.dumps({**known, "config": '{"a": 1}', "because": ["m"], "identity": "i"}))
    assert (found.because, found.identity, found.rows) == (("m",), "i", 1)


def test_a_table_keeps_the_latest_snapshots_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "_SNAPSHOTS", 2)
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    for key in KEYS[:5]:
        execute(Run(Numbers(3, salt=key), lake, settings, key))
    assert len(lake.table("pairs").snapshots()) == 3
    assert len(set(lake.arrow("pairs")["key"].to_pylist())) == 5
