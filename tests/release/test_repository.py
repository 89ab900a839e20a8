"""The repository of a release on the Hub: who may see it, and how many files its folders and commits have."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.progress import Silent
from kale_tasks.release.built import read
from kale_tasks.release.files import ReleaseFile, released_name
from kale_tasks.release.publish import target
from kale_tasks.release.shards import ReleaseShard
from kale_tasks.release.targets.base import Publication
from kale_tasks.release.targets.hub import Hub
from tests.hub.repo import Blob
from tests.hub.server import Fault, HubServer
from tests.lakes import lake_sets, settings_of
from tests.release.conftest import Template, World, world
from tests.release.readers import watching
from tests.release.test_polling import hub_reader

REPO = "datasets/someone/captions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    """A release of 110 files: more than one commit may have."""
    folder = tmp_path_factory.mktemp("repository")
    sets = [f"publish.target=hf://{REPO}", "publish.shard_rows=1", "parts.part_rows=110", "parts.chunk_rows=110"]
    made = world("folder", folder, request, *sets)
    made.fill("a", rows=110)
    made.release("a")
    return Template(folder, made)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def names(it: World) -> set[str]:
    return {file.name for file in read(it.lake, "a").files}


def shown(hub: HubServer) -> set[str]:
    return {name for name in hub.repo(REPO).head.files if name.startswith("data/")}


@pytest.mark.parametrize(
    ("sets", "private", "gated"),
    [
        ([], True, False),
        (["publish.private=false"], False, False),
        (["publish.gated=auto"], True, "auto"),
        (["publish.private=false", "publish.gated=manual"], False, "manual"),
    ],
)
def test_a_repository_is_created_as_the_settings_say(
    it: World, hub: HubServer, sets: list[str], private: bool, gated: object
) -> None:
    it.with_("publish.target=hf://datasets/an-organisation/captions", *sets).publish("a")
    assert hub.repo("datasets/an-organisation/captions").settings == {"private": private, "gated": gated}


def test_a_repository_that_exists_stays_as_it_is(it: World, hub: HubServer) -> None:
    it.with_("publish.private=false").publish("a")
    it.fill("a", rows=110, a="Mary ")
    it.release("a")
    it.with_("publish.gated=manual").publish("a")
    assert hub.repo(REPO).settings == {"private": False, "gated": False}


def test_many_files_are_committed_in_groups_and_appear_at_once(it: World, hub: HubServer) -> None:
    with watching(lambda: hub_reader(hub)) as seen:
        it.publish("a")
    assert seen == [frozenset(), frozenset(names(it))]
    repo = hub.repo(REPO)
    assert hub.largest_commit == 100 and len(repo.commits) == 2
    assert repo.tags[read(it.lake, "a").version] == repo.head.oid
    it.publish("a")
    assert len(repo.commits) == 2
    assert list(target(it.settings).history()) == [read(it.lake, "a").version]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/merge", 500, after=True),
        Fault("POST .*/merge", 0, after=True),
        Fault("POST .*/merge", 503, times=2),
        Fault("POST .*/commit/main", 503, times=2),
        Fault("POST .*/commit/refs/pr/1", 0, after=True),
        Fault("POST .*/commit/refs/pr/1", 503),
    ],
)
def test_a_lost_or_failed_answer_of_a_group_leaves_one_whole_release(it: World, hub: HubServer, fault: Fault) -> None:
    hub.faults = [fault]
    it.publish("a")
    assert shown(hub) == names(it) and len(hub.repo(REPO).commits) == 2


def test_a_commit_by_somebody_else_before_the_merge_is_a_conflict_and_stays(it: World, hub: HubServer) -> None:
    def meddle(line: str) -> None:
        if "/commit/refs/pr/" in line:
            hub.hook = lambda _: None
            hub.repo(REPO).commit("fix a typo", "", {"NOTES.md": Blob(2, b"hi")}, ())

    hub.hook = meddle
    with pytest.raises(Conflict, match="meanwhile: 'fix a typo'"):
        it.publish("a")
    assert not shown(hub) and "NOTES.md" in hub.repo(REPO).head.files
    it.publish("a")
    assert shown(hub) == names(it) and "NOTES.md" in hub.repo(REPO).head.files
    assert set(hub.received.values()) == {1}, "uploads are kept"


def flip(it: World) -> ReleaseFile:
    """Change one bit of a released file; its size stays."""
    file = read(it.lake, "a").files[7]
    path = Path(it.lake.storage.root, file.path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    return file


def test_a_flipped_bit_is_not_published_on_the_hub(it: World, hub: HubServer) -> None:
    file = flip(it)
    with pytest.raises(BadData, match=f"{file.path} has other bytes than were written. Run `kale repair`"):
        it.publish("a")
    assert not shown(hub)


@pytest.mark.parametrize("kind", ["folder", pytest.param("s3", marks=pytest.mark.server)])
def test_a_flipped_bit_is_not_published_in_a_folder_or_on_s3(
    it: World, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place, more = str(tmp_path / "out"), list[str]()
    if kind == "s3":
        place = f"s3://{request.getfixturevalue('s3').bucket()}/out"
        more = [text for text in lake_sets("s3", tmp_path, request) if text.startswith("s3.")]
    there = it.with_(f"publish.target={place}", *more)
    file = flip(it)
    with pytest.raises(BadData, match=f"{file.path} has other bytes than were written. Run `kale repair`"):
        there.publish("a")
    store = target(there.settings)
    assert store.current().version is None
    assert not store._storage.exists(f"{read(it.lake, 'a').version}/{file.name}")  # type: ignore[attr-defined]


@pytest.mark.parametrize("limit", ["_FOLDER", "_REPO"])
def test_a_release_that_a_repository_cannot_hold_is_refused_before_anything_is_sent(
    it: World, hub: HubServer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"kale_tasks.release.targets.hub.{limit}", 60)
    with pytest.raises(BadConfig, match=r"110 files, .* Raise publish\.shard_rows"):
        it.publish("a")
    assert not hub.repos


@dataclass(frozen=True)
class Plan:
    """A release of a size: files of each folder, in all and in a commit, from settings and bytes of a row alone."""

    folders: Counter[str]

    @classmethod
    def of(cls, rows: int, keys: int, formats: dict[str, int], shard_rows: int, shard_bytes: int) -> "Plan":
        """`formats` has the bytes of a row in memory."""
        folders = Counter[str]()
        for key in (f"{number:04d}" for number in range(keys)):
            for stage, share in ((1, 0.46), (2, 0.53)):
                mine = round(rows / keys * share)
                spans = [min(shard_rows, mine - start) for start in range(0, mine, shard_rows)]
                for name, size in formats.items():
                    files = sum(-(-span * size // shard_bytes) for span in spans)
                    shard = ReleaseShard(0, key, "kale", stage, 0, 0, "")
                    folders[released_name(shard, name, "x").rpartition("/")[0]] += files
        return cls(folders)

    @property
    def entries(self) -> Counter[str]:
        """Entries of every folder, folders among them."""
        found = Counter(self.folders)
        for folder in self.folders:
            parts = folder.split("/")
            found.update({"/".join(parts[:depth]): 0 for depth in range(1, len(parts))})
        for folder in {"/".join(f.split("/")[:d]) for f in self.folders for d in range(1, f.count("/") + 2)}:
            found["/".join(folder.split("/")[:-1])] += 1
        return found


TEXT = {"data": 1_000, "mix": 1_200, "sentences": 800, "chat": 800}
PICTURES = {"data": 1_000, "images": 60_000, "webdataset": 60_000}


@pytest.mark.parametrize(("keys", "formats"), [(22, TEXT), (220, TEXT), (2_000, TEXT), (22, PICTURES), (220, PICTURES)])
def test_218_million_rows_keep_the_limits_of_the_hub(keys: int, formats: dict[str, int]) -> None:
    """At most 10,000 entries in a folder and 100,000 files in a repository, with the default sizes."""
    of = settings_of(["profile=cluster"]).publish
    plan = Plan.of(218_000_000, keys, formats, of.shard_rows, of.shard_bytes)
    assert max(plan.entries.values()) <= 10_000
    assert sum(plan.folders.values()) < 100_000


@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_100_000_tiny_files_are_published_as_one_release(tmp_path: Path, hub: HubServer, it: World) -> None:
    storage = FolderStorage(tmp_path / "tiny")
    files = []
    for number in range(100_000):
        data = b"%06d" % number
        shard = ReleaseShard(number, f"{number // 500:04d}", "kale", 1, 0, 1, "")
        name = released_name(shard, "data", f"{shard.source}-{number:010d}.parquet")
        path = Path(storage.root, f"{number // 1000}/{number}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files.append(ReleaseFile(f"{number // 1000}/{number}.parquet", name, "captions", 1, len(data), digest))
    listed = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in files]
    manifest = json.dumps({"version": "v1", "files": listed}).encode()
    place = Hub(f"hf://{REPO}", it.settings)
    publication = Publication("v1", storage, files, {"README.md": b"# x\n", "manifest.json": manifest})
    place.publish(publication, place.current(), Silent())
    repo = hub.repo(REPO)
    assert hub.largest_commit == 100 and len(repo.commits) == 2
    assert shown(hub) == {file.name for file in files}
    folders = Counter(name.rpartition("/")[0] for name in shown(hub))
    assert max(folders.values()) == 500 and len(folders) == 200
    # One file is another now: one is sent, and one goes.
    changed = replace(files[0], name=files[0].name.replace("0000-", "0000-new-"))
    sent = sum(hub.received.values())
    listed[0] = {"name": changed.name, "bytes": changed.bytes, "sha256": changed.sha256}
    pages = {"README.md": b"# x\n", "manifest.json": json.dumps({"version": "v2", "files": listed}).encode()}
    place.publish(Publication("v2", storage, [changed, *files[1:]], pages), place.current(), Silent())
    assert sum(hub.received.values()) == sent and len(shown(hub)) == 100_000
