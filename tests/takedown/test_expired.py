"""What is published of a row is deleted as well where the lake no longer has the release that it was in."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kale_tasks.release.publish import target
from kale_tasks.release.retention import expire_releases, versions
from kale_tasks.release.targets.base import Removal
from kale_tasks.takedown.certificate import certificate_path, finish
from tests.hub.server import HubServer
from tests.release.conftest import World, world
from tests.takedown.requests import REMOVED, REQUEST, files_with, take

REPO = "datasets/someone/captions"


def published(place: str, folder: Path, request: pytest.FixtureRequest) -> World:
    """Four editions of key a beside key b, of which the lake has the latest two still, and the target one more."""
    sets = [f"publish.target={place}", "publish.keep_releases=1", "maintenance.run_days=0", "maintenance.grace_hours=0"]
    it = world("folder", folder, request, *sets)
    it.fill("b", "c", rows=40)
    for edition in ("", "second ", "third ", "fourth "):
        it.fill("a", rows=120, a=edition)
        it.release("c")
        it.publish("c")
    expire_releases(it.lake, it.settings)
    assert len(versions(it.lake, "c")) == 2
    return it


def removed(it: World) -> dict[str, list[str]]:
    """Take the rows down, publish without them, and end the takedown; returns its certificate."""
    record = take(it, **REQUEST)
    it.release("c")
    it.publish("c")
    finish(it.lake, it.settings, record, now=True)
    found: dict[str, list[str]] = json.loads(it.lake.storage.read(certificate_path(record["name"])))
    return found


def test_the_history_on_the_hub_has_no_file_with_a_removed_row(
    tmp_path: Path, request: pytest.FixtureRequest, hub: HubServer
) -> None:
    it = published(f"hf://{REPO}", tmp_path / "lake", request)
    repo = hub.repo(REPO)
    others = {blob.sha256 for commit in repo.commits for name, blob in commit.files.items() if "/c/" in name}
    found, shown = large_with_a_row(hub), {str(blob.sha256) for blob in repo.head.files.values()}
    assert found - shown and found & shown
    certificate = removed(it)
    assert not large_with_a_row(hub)
    assert all(repo.large(str(name)).exists() for name in others), "other keys stay in the history"
    assert len([name for name in certificate["files_deleted"] if name.startswith("hf://someone/captions/data/")]) >= 8


def large_with_a_row(hub: HubServer) -> set[str]:
    """The SHA-256 of every stored file of releases, of any commit, that has a row to be removed."""
    names, found = set(REMOVED), set()
    for path in (p for p in hub.folder.rglob("*") if p.is_file()):
        if path.read_bytes()[:4] == b"PAR1" and names & set(pq.read_table(path, columns=["uid"])["uid"].to_pylist()):
            found.add(path.name)
    return found


@pytest.mark.nightly
def test_a_release_that_only_the_folder_has_is_withdrawn_from_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    it = published(str(tmp_path / "out"), tmp_path / "lake", request)
    it.fill("a", rows=120, a="fifth ")  # built, and not published: the lake forgets what the folder shows last but one
    it.release("c")
    it.fill("a", rows=120, a="sixth ")
    it.release("c")
    expire_releases(it.lake, it.settings)
    history = list(target(it.settings).history())
    assert set(history) - set(versions(it.lake, "c"))
    removed(it)
    assert not set(history) & set(target(it.settings).history())
    assert files_with(tmp_path, [name.encode() for name in REMOVED]) == []


@pytest.mark.parametrize(
    ("name", "sha256", "concerned"),
    [
        ("data/kale/stage1/a/a-0-x.parquet", "hit", True),
        ("data/kale/stage1/a/a-0-x.parquet", "clean", False),
        ("data/kale/stage1/a/a-0-x.parquet", "unknown", True),
        ("data/kale/stage1/b/b-0-x.parquet", "unknown", False),
        ("data/kale/stage1/a-0-x.parquet", "unknown", True),
        ("data/kale/stage1/aa/aa-0-x.parquet", "unknown", False),
        ("README.md", "unknown", False),
    ],
)
def test_a_file_of_unknown_content_is_judged_by_its_key(name: str, sha256: str, concerned: bool) -> None:
    assert Removal({"hit"}, {"hit", "clean"}, {"a"}).concerns(name, sha256) is concerned
