"""Releases in a folder and on S3."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.progress import Silent
from kale_tasks.quality.stored import RELEASE, report_path
from kale_tasks.release.built import read
from kale_tasks.release.card import pages
from kale_tasks.release.diff import diff
from kale_tasks.release.publish import publish, target
from kale_tasks.release.targets.base import Publication
from kale_tasks.runner.repair import repair
from tests.kale import kale
from tests.lakes import KINDS, lake_sets
from tests.release.conftest import Template, World, world
from tests.release.readers import State, load_dataset, watching
from tests.release.world import uid


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    """A lake with two keys in a folder."""
    folder = tmp_path_factory.mktemp("store")
    made = world("folder", folder, request)
    made.fill("a", "b")
    made.release("b")
    return Template(folder, made)


def two_keys(template: Template, folder: Path, request: pytest.FixtureRequest, kind: str) -> World:
    """Return the lake with two keys, which publishes to a folder or to S3."""
    s3 = [
        text
        for text in lake_sets(kind, folder, request)
        if not text.startswith(("parts.", "warehouse=", "catalog=", "landing="))
    ]
    out = f"s3://{request.getfixturevalue('s3').bucket()}/out" if kind == "s3" else folder / "out"
    return template.restored(*s3, f"publish.target={out}")


@pytest.fixture(params=KINDS)
def it(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> World:
    return two_keys(template, tmp_path, request, request.param)


@pytest.fixture
def plain(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> World:
    return two_keys(template, tmp_path, request, "folder")


def outside(it: World) -> Storage:
    return open_storage(str(it.settings.publish.target), it.settings.s3)


def reader(place: Storage) -> State:
    """Return the files that a reader finds by the pointer; every file in the manifest must exist."""
    try:
        version = json.loads(place.read("latest.json"))["version"]
    except FileNotFoundError:
        return frozenset()
    files = json.loads(place.read(f"{version}/manifest.json"))["files"]
    present = {e.path.removeprefix(f"{version}/"): e.size for e in place.entries(version)}
    assert all(present[f["name"]] == f["bytes"] for f in files)
    return frozenset(f["name"] for f in files)


def recording(put: Callable[[Storage, str, bytes | Path], None], sent: list[str]) -> Callable[..., None]:
    """Return a `put` that records what is sent."""

    def recorded(storage: Storage, path: str, data: bytes | Path) -> None:
        sent.append(path)
        put(storage, path, data)

    return recorded


def names(it: World, key: str) -> State:
    return frozenset(file.name for file in read(it.lake, key).files)


def test_a_reader_sees_the_old_release_or_the_new_one_and_only_new_files_are_sent(
    it: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = outside(it)
    with watching(lambda: reader(place)) as seen:
        it.publish("b")
        first = names(it, "b")
        it.fill("b", b="Mary ")
        it.release("b")
        sent = list[str]()
        monkeypatch.setattr(type(place), "put", recording(type(place).put, sent))
        it.publish("b")
        monkeypatch.undo()
    assert seen == [frozenset(), first, names(it, "b")]
    assert {p.partition("/")[2] for p in sent if p.endswith(".parquet")} == names(it, "b") - first


def test_publishing_again_changes_nothing(plain: World) -> None:
    address = plain.publish("b")
    before = {e.path: e.size for e in outside(plain).entries("")}
    assert plain.publish("b") == address
    assert {e.path: e.size for e in outside(plain).entries("")} == before


def test_an_interrupted_publication_sends_each_file_once(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    place, sent = outside(it), list[str]()
    real = type(place).put

    def put(storage: Storage, path: str, data: bytes | Path) -> None:
        if path.endswith(".parquet"):
            if len(sent) == 3:
                raise OSError("connection lost")
            sent.append(path)
        real(storage, path, data)

    alone = it.with_("publish.upload_workers=1")
    monkeypatch.setattr(type(place), "put", put)
    with pytest.raises(OSError, match="connection lost"):
        alone.publish("b")
    assert reader(place) == frozenset()
    monkeypatch.setattr(type(place), "put", recording(real, sent))
    alone.publish("b")
    files = [p for p in sent if p.endswith(".parquet")]
    assert len(files) == len(set(files)) == len(names(it, "b"))
    assert reader(place) == names(it, "b")


def test_a_release_by_somebody_else_is_a_conflict_and_stays(it: World) -> None:
    place, built = target(it.settings), read(it.lake, "b")
    base = place.current()
    outside(it).put("other/manifest.json", json.dumps({"version": "other", "files": []}).encode())
    outside(it).put("other/README.md", b"")
    outside(it).put("latest.json", json.dumps({"version": "other"}).encode())
    publication = Publication(built.version, it.lake.storage, built.files, pages(built, it.settings.publish))
    with pytest.raises(Conflict, match="Nothing was overwritten"):
        place.publish(publication, base, Silent())
    assert place.current().version == "other"


def flipped(data: bytes) -> bytes:
    return data[:-200] + bytes([data[-200] ^ 1]) + data[-199:]


@pytest.mark.parametrize(
    ("damage", "says"),
    [(lambda _: b"torn", "has 4 bytes instead of"), (flipped, "has other bytes than were written")],
    ids=["truncated", "one bit"],
)
def test_a_damaged_file_is_not_published_and_the_advice_works(
    plain: World, damage: Callable[[bytes], bytes], says: str
) -> None:
    file = read(plain.lake, "b").files[0]
    plain.lake.storage.put(file.path, damage(plain.lake.storage.read(file.path)))
    with pytest.raises(BadData, match=f"{says}.* Run `kale repair`"):
        plain.publish("b")
    assert reader(outside(plain)) == frozenset()
    assert repair(plain.lake, plain.settings, Silent()).left == {}
    assert plain.publish("b") and reader(outside(plain)) == names(plain, "b")


def test_a_damaged_file_of_the_table_of_releases_is_repaired(plain: World) -> None:
    lake = plain.lake
    lake.storage.put(lake.files("releases", "b")[0].path, b"torn")
    with pytest.raises(BadData, match="Run `kale repair"):
        plain.publish("b")
    assert repair(lake, plain.settings, Silent(), key="b", step="release").left == {}
    assert plain.publish("b") and reader(outside(plain)) == names(plain, "b")


def test_the_diff_counts_added_removed_and_changed_rows(plain: World) -> None:
    plain.publish("b")
    same = diff(plain.lake, read(plain.lake, "b"), target(plain.settings).current())
    assert (same.rows_same, same.rows_in, same.rows_out, same.rows_changed, same.files_new) == (240, 0, 0, 0, 0)
    plain.fill("c")
    plain.fill("b", b="Mary ")
    plain.fill("a", rows=100)
    plain.release("c")
    found = diff(plain.lake, read(plain.lake, "c"), target(plain.settings).current())
    assert (found.rows_in, found.rows_out, found.rows_changed, found.rows_same) == (120, 20, 120, 100)
    assert "120 rows in, 20 out, 120 changed" in str(found)


def test_notes_on_the_published_card_are_kept(plain: World) -> None:
    place, where = outside(plain), plain.publish("b").rpartition("/")[2]
    card = place.read(f"{where}/README.md").decode()
    place.put(f"{where}/README.md", card.replace("-->\n\n<!-- end", "-->\nAsk Ann.\n<!-- end").encode())
    plain.fill("b", b="Mary ")
    new = plain.release("b")
    plain.publish("b")
    assert "\nAsk Ann.\n" in place.read(f"{new}/README.md").decode()


@pytest.mark.usefixtures("s3", "postgres")
def test_a_lake_on_s3_is_published_as_well(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    it = world("s3", tmp_path, request, f"publish.target={tmp_path / 'out'}")
    it.fill("a", rows=40)
    it.release("a")
    it.publish("a")
    assert reader(outside(it)) == names(it, "a")


def test_publishing_writes_the_report(plain: World) -> None:
    answer = kale("publish", "--key", "b", "--json", sets=[*plain.sets, "log=plain"])
    version = read(plain.lake, "b").version
    assert answer.json["address"].endswith(version)
    assert answer.err.startswith(f"publish {version}: "), "--json must not change the progress on stderr"
    page = plain.lake.storage.read(report_path(f"{RELEASE}{version}", "html")).decode()
    assert f"<h1>{version}</h1>" in page and "240" in page


@pytest.mark.nightly
def test_load_dataset_reads_a_published_folder_whole_and_streamed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    it = world("folder", tmp_path, request, f"publish.target={tmp_path / 'out'}")
    it.fill("a")
    it.release("a")
    where = publish(it.lake, it.settings, "a", Silent())
    got = load_dataset({"path": where, "name": "full"}, tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert got["whole"] == got["streamed"] == sorted(uid("a", n) for n in range(120))
    assert got["types"]["models"] == "List(Value('string'))" and got["types"]["stage"] == "Value('int32')"


@pytest.mark.nightly
@pytest.mark.usefixtures("s3", "postgres")
def test_load_dataset_reads_a_public_release_on_s3_whole_and_streamed(
    template: Template, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    it = two_keys(template, tmp_path, request, "s3")
    s3, place = request.getfixturevalue("s3"), outside(it)
    where = it.publish("b")
    bucket, folder = where.removeprefix("s3://").split("/", 1)
    may_read = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [may_read]}))
    files = json.loads(place.read(f"{folder.rpartition('/')[2]}/manifest.json"))["files"]
    urls = [f"{s3.endpoint}/{bucket}/{folder}/{f['name']}" for f in files if f["name"].endswith(".parquet")]
    got = load_dataset(
        {"path": "parquet", "data_files": {"train": urls}}, tmp_path / "cache", HF_ENDPOINT="http://localhost:9"
    )
    assert got["whole"] == got["streamed"] == sorted(uid(key, n) for key in "ab" for n in range(120))
    assert got["types"]["models"] == "List(Value('string'))" and got["row"]["url"].startswith("https://host")


def test_an_unknown_target_is_refused_with_the_known_ones(plain: World) -> None:
    with pytest.raises(BadConfig, match=r"no release target 'ftp'\. Known: folder, file, s3, gs, az, hf"):
        plain.with_("publish.target=ftp://host/releases").publish("b")
