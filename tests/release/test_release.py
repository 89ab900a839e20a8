"""The files of a release."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.release.built import manifest, read
from kale_tasks.release.files import ReleaseFile, write_shard
from kale_tasks.release.formats.base import CAPTION_COLUMNS
from kale_tasks.release.formats.text import Mix
from kale_tasks.release.shards import ReleaseShard
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from tests.release.conftest import World, world
from tests.release.world import image, uid


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    """Two keys, released in every format."""
    formats = "publish.formats=[mix,sentences,chat,images,webdataset]"
    made = world("folder", tmp_path_factory.mktemp("release"), request, formats)
    made.fill("a", "b")
    made.release("b")
    return made


def rows(it: World, files: list[ReleaseFile]) -> pa.Table:
    return pa.concat_tables(pq.read_table(Path(it.settings.warehouse, file.path)) for file in files)


def recording(seen: list[Any], what: str) -> Callable[[Run, ReleaseShard], Iterator[ReleaseFile]]:
    """Write a shard and record an attribute of it."""

    def write(run: Run, shard: ReleaseShard) -> Iterator[ReleaseFile]:
        seen.append(getattr(shard, what))
        return write_shard(run, shard)

    return write


def test_a_release_holds_every_caption_up_to_its_key_once(both: World) -> None:
    built = read(both.lake, "b")
    full, core = rows(both, built.of("full")), rows(both, built.of("core"))
    assert sorted(full["uid"].to_pylist()) == sorted(uid(key, n) for key in "ab" for n in range(120))
    assert set(core["stage"].to_pylist()) == {1} and all(core["dense_caption"].to_pylist())
    assert full.column_names == list(CAPTION_COLUMNS)
    expected = {r["uid"]: r for r in both.lake.arrow("captions").select(list(CAPTION_COLUMNS)).to_pylist()}
    assert {r["uid"]: r for r in full.to_pylist()} == expected


def test_each_file_is_sorted_and_named_by_its_bytes(both: World) -> None:
    for file in read(both.lake, "b").files:
        assert file.sha256[:16] in file.name
        if file.format == "captions":
            names = rows(both, [file])["uid"].to_pylist()
            assert names == sorted(names) and len(names) == file.rows <= 50


def test_the_same_captions_give_the_same_bytes_in_any_lake(
    both: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    other = world("folder", tmp_path, request, "publish.formats=[mix,sentences,chat,images,webdataset]")
    other.fill("a", "b")
    other.release("b")
    assert manifest(read(other.lake, "b")) == manifest(read(both.lake, "b"))


def test_the_mix_names_the_source_of_each_text(both: World) -> None:
    kinds = rows(both, read(both.lake, "b").of("mix")).to_pylist()
    captions = both.lake.arrow("captions").to_pylist()
    columns = {"alt": "alt_text", "dense": "dense_caption", "fused": "caption"}
    expected = {(c["uid"], kind, c[name]) for c in captions for kind, name in columns.items() if c[name]}
    assert {(r["uid"], r["kind"], r["text"]) for r in kinds} == expected and len(kinds) == len(expected)


def test_sentences_joined_are_the_caption(both: World) -> None:
    found = rows(both, read(both.lake, "b").of("sentences")).to_pylist()
    captions = {c["uid"]: c["caption"] for c in both.lake.arrow("captions").to_pylist()}
    assert {r["uid"]: " ".join(r["sentences"]) for r in found} == captions
    assert all(len(r["sentences"]) == 2 for r in found)


def test_images_are_released_with_their_captions(both: World) -> None:
    built = read(both.lake, "b")
    for row in rows(both, built.of("images")).to_pylist():
        assert row["image"]["bytes"] == image(row["uid"])
    members: dict[str, bytes] = {}
    for file in built.of("webdataset"):
        with tarfile.TarFile(fileobj=io.BytesIO(both.lake.storage.read(file.path))) as tar:
            members |= {m.name: found.read() for m in tar if (found := tar.extractfile(m))}
    assert len(members) == 3 * built.rows("full")
    assert members[f"{uid('a', 3)}.jpg"] == image(uid("a", 3))


def test_a_release_needs_captions(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(Conflict, match="kale run captions"):
        world("folder", tmp_path, request).release("a")


def test_an_interrupted_release_is_resumed(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = world("folder", tmp_path, request)
    it.fill("a")
    run = Run(Release(), it.lake, it.settings, "a")
    (chunk,) = plan(run).chunks
    written = list[int]()

    def write_and_die(run: Run, shard: ReleaseShard) -> Iterator[ReleaseFile]:
        if len(written) == 2:
            raise OSError("the machine dies")
        return recording(written, "number")(run, shard)

    monkeypatch.setattr("kale_tasks.release.step.write_shard", write_and_die)
    with pytest.raises(OSError, match="dies"):
        work(run, chunk)
    monkeypatch.setattr("kale_tasks.release.step.write_shard", recording(written, "number"))
    execute(Run(Release(), it.lake, it.settings, "a"))
    assert sorted(written) == list(chunk.numbers)


def test_a_later_release_writes_only_what_changed(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = world("folder", tmp_path, request)
    it.fill("a", "b")
    it.release("b")
    it.fill("c")
    it.fill("b", b="Mary ")
    sources = list[str]()
    monkeypatch.setattr("kale_tasks.release.step.write_shard", recording(sources, "source"))
    it.release("c")
    assert set(sources) == {"b", "c"}
    assert read(it.lake, "c").rows("full") == 360


def test_files_are_closed_at_their_size_limit(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    it = world("folder", tmp_path, request, "publish.shard_bytes=2000", "publish.formats=[images]")
    it.fill("a", rows=1200)
    wide = it.with_("publish.shard_rows=1200")
    wide.release("a")
    images = read(wide.lake, "a").of("images")
    assert len(images) > 1 and sum(file.rows for file in images) == 1200


def test_a_committed_release_is_not_built_again(both: World) -> None:
    assert plan(Run(Release(), both.lake, both.settings, "b")).committed


@pytest.mark.parametrize(
    ("formats", "complaint"), [("[poems]", "no release format 'poems'. Known: captions, mix"), ("[mix,mix]", "'mix'")]
)
def test_an_unknown_or_repeated_format_is_refused(
    formats: str, complaint: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    it = world("folder", tmp_path, request, f"publish.formats={formats}")
    it.fill("a", rows=20)
    with pytest.raises(BadConfig, match=complaint):
        it.release("a")
    assert it.lake.committed("releases", "a") is None


def test_a_newer_version_of_a_format_makes_new_files(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = world("folder", tmp_path, request, "publish.formats=[mix]")
    it.fill("a", rows=20)
    first = it.release("a")
    monkeypatch.setattr(Mix, "version", 2)
    shards = list[int]()
    monkeypatch.setattr("kale_tasks.release.step.write_shard", recording(shards, "number"))
    assert it.release("a") != first and shards
