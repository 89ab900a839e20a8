"""Adopting images from tars of img2dataset."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadData
from kale_tasks.images.adopt import read_tar
from kale_tasks.lake.shards import Span, read_images
from tests.images.plain import image, plain_server
from tests.images.world import KEY, images, lake_with, settings


def test_adopted_images_are_found_by_uid_and_not_copied(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(0, 40)})
    write_tar(tmp_path, "00000001", {i: image(i) for i in range(40, 60)})
    of = settings(tmp_path, "parts.part_rows=25", "parts.chunk_rows=50")
    lake = lake_with(of, [pair(i) for i in range(70)])
    rows = images(lake, of)
    found = [rows[name(i)] for i in range(60)]
    spans = [Span(row["shard"], row["offset"], row["length"]) for row in found]
    assert read_images(lake, spans) == [image(i) for i in range(60)]
    assert {row["shard"] for row in found} == {f"landing:{KEY}/0000000{n}.tar" for n in (0, 1)}
    assert all(row["sha256_matches"] and (row["width"], row["height"]) == (120, 90) for row in found)
    assert {rows[name(i)]["reason"] for i in range(60, 70)} == {"not_in_tars"}
    assert not [entry for entry in lake.storage.entries("images") if entry.path.endswith(".tar")], "nothing is copied"


def test_broken_members_and_truncated_tars_are_quarantined_and_the_rest_is_adopted(tmp_path: Path) -> None:
    members = {i: image(i) for i in range(20)} | {3: b"<html>gone</html>", 4: image(4)[:800]}
    write_tar(tmp_path, "00000000", members)
    torn = write_tar(tmp_path, "00000001", {i: image(i) for i in range(20, 40)})
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    of = settings(tmp_path)
    lake = lake_with(of, [pair(i, "00000000" if i < 20 else "00000001") for i in range(40)])
    rows = images(lake, of)
    out = {row["uid"]: row["reason"] for row in lake.arrow("quarantine", KEY).to_pylist()}
    assert out[name(3)] == "not_an_image"
    assert out[name(4)] == "broken_image"
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert 25 <= len(rows) < 38
    lost = {name(i) for i in range(40)} - set(rows) - {name(3), name(4)}
    assert {out[u] for u in lost} == {"tar_broken"}


def test_images_that_the_tars_lack_are_fetched_if_requested(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(10)})
    with plain_server() as server:
        of = settings(tmp_path, "images.fetch_missing=true")
        lake = lake_with(of, [pair(i) | {"url": server.url(i)} for i in range(15)])
        rows = images(lake, of)
        assert {row["status"] for row in rows.values()} == {"ok"}
        assert server.pictures == 5


def test_a_changed_tar_is_adopted_again(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(10)})
    of = settings(tmp_path)
    lake = lake_with(of, [pair(i) for i in range(12)])
    assert sum(row["status"] == "ok" for row in images(lake, of).values()) == 10
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(12)})
    assert sum(row["status"] == "ok" for row in images(lake, of).values()) == 12


@pytest.mark.parametrize("kind", ["no uid", "integer id", "upper-case uid", "upper-case extension", "datacomp"])
def test_archives_of_other_shapes_are_adopted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "landing" / KEY / "00000.tar"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as tar:
        for number in range(10):
            known: dict[str, Any] = {"url": f"http://gone.test/{number}", "caption": "text", "status": "success"}
            known |= {"integer id": {"uid": number}, "upper-case uid": {"uid": name(number).upper()}}.get(kind, {})
            known |= {"datacomp": {"uid": name(number), "face_bboxes": [], "sha256": f"{number:x}" * 64}}.get(kind, {})
            _add(tar, f"{number:09}.{'JPG' if kind == 'upper-case extension' else 'jpg'}", image(number))
            _add(tar, f"{number:09}.txt", b"text")
            _add(tar, f"{number:09}.json", json.dumps(known).encode())
    of = settings(tmp_path)
    rows = images(lake_with(of, [pair(i) for i in range(12)]), of)
    assert {rows[name(i)]["status"] for i in range(10)} == {"ok"}
    assert {rows[name(i)]["reason"] for i in (10, 11)} == {"not_in_tars"}


def test_a_replaced_tar_of_the_same_size_is_adopted_again(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(10)})
    of = settings(tmp_path)
    lake = lake_with(of, [pair(i) for i in range(10)])
    first = images(lake, of)
    path = tmp_path / "landing" / KEY / "00000000.tar"
    size = path.stat().st_size
    write_tar(tmp_path, "00000000", {i: image(i + 100) for i in range(10)})
    assert path.stat().st_size == size, "tars are padded"
    second = images(lake, of)
    for number in range(10):
        row = second[name(number)]
        (found,) = read_images(lake, [Span(row["shard"], row["offset"], row["length"])])
        assert found == image(number + 100)
        assert row["phash"] != first[name(number)]["phash"]


@pytest.mark.parametrize("kind", ["other images", "one image more", "no tar", "cut"])
def test_no_bytes_of_a_replaced_tar_are_read_at_the_places_of_the_former(tmp_path: Path, kind: str) -> None:
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(40)})
    of = settings(tmp_path)
    lake = lake_with(of, [pair(i) for i in range(40)])
    spans = spans_of(images(lake, of))
    order = [*range(40, 80)] if kind == "other images" else [40, *range(40)]
    path = write_tar(tmp_path, "00000000", {i: image(i) for i in order})
    if kind in ("no tar", "cut"):
        path.write_bytes(bytes(path.stat().st_size if kind == "no tar" else 2000))
    for some in (spans, spans[-1:], spans[5:9]):
        with pytest.raises(BadData, match=f"kale run images --key {KEY}"):
            read_images(lake, some)
    if kind in ("other images", "one image more"):
        left = [] if kind == "other images" else [image(i) for i in range(40)]
        assert read_images(lake, spans_of(images(lake, of))) == left


@pytest.mark.parametrize("longer", [1, -1, 5000])
def test_a_replaced_picture_is_not_read_by_the_length_of_the_former(tmp_path: Path, longer: int) -> None:
    path = tmp_path / "landing" / KEY / "1.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 900)
    lake = lake_with(settings(tmp_path), [pair(1)])
    span = Span(f"landing:{KEY}/1.jpg", 0, 900)
    assert read_images(lake, [span]) == [b"x" * 900]
    path.write_bytes(b"y" * (900 + longer))
    with pytest.raises(BadData, match="than rows of `images` say"):
        read_images(lake, [span])


def test_adopted_images_with_faces_are_stored_blurred_and_the_others_are_kept(tmp_path: Path) -> None:
    write_tar(tmp_path, "00000000", {i: image(i) for i in range(10)})
    of = settings(tmp_path)
    lake = lake_with(of, [pair(i) | {"face_boxes": [[0.0, 0.0, 1.0, 1.0]] if i < 3 else []} for i in range(10)])
    rows = images(lake, of)
    for i in range(10):
        row = rows[name(i)]
        (stored,) = read_images(lake, [Span(row["shard"], row["offset"], row["length"])])
        assert row["sha256_matches"]
        assert ("faces_blurred" in row["flags"]) == (not row["shard"].startswith("landing:")) == (i < 3)
        assert (stored == image(i)) == (i >= 3)


@pytest.mark.parametrize("order", [("jpg", "txt", "json"), ("json", "jpg"), ("txt", "json", "png")])
def test_the_files_of_an_image_may_come_in_any_order(order: tuple[str, ...]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(3):
            for suffix in order:
                _add(tar, f"{i:09}.{suffix}", json.dumps({"uid": f"u{i}"}).encode() if suffix == "json" else b"x" * 9)
    out.seek(0)
    assert [(m.metadata["uid"], m.length) for m in read_tar(out, "a.tar")] == [("u0", 9), ("u1", 9), ("u2", 9)]


def spans_of(rows: Mapping[str, dict[str, Any]]) -> list[Span]:
    """Return the places of the stored images among 40, in the order of their numbers."""
    found = [rows[name(i)] for i in range(40) if rows.get(name(i), {}).get("shard")]
    return [Span(row["shard"], row["offset"], row["length"]) for row in found]


def name(number: int) -> str:
    """Return the uid of a pair."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def pair(number: int, source: str = "00000000") -> dict[str, Any]:
    """Return a pair as ingest writes it."""
    return {
        "uid": name(number),
        "url": f"http://gone.test/{number}",
        "source": f"{source}.parquet",
        "sha256": hashlib.sha256(image(number)).hexdigest(),
    }


def write_tar(root: Path, stem: str, members: Mapping[int, bytes]) -> Path:
    """Write a tar whose metadata file was `<stem>.parquet`."""
    path = root / "landing" / KEY / f"{stem}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, content in members.items():
            metadata = {"uid": name(number), "sha256": hashlib.sha256(image(number)).hexdigest(), "status": "success"}
            _add(tar, f"{number:09}.jpg", content)
            _add(tar, f"{number:09}.json", json.dumps(metadata).encode())
    return path


def _add(tar: tarfile.TarFile, member: str, content: bytes) -> None:
    info = tarfile.TarInfo(member)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
