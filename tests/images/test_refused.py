"""Images that were taken down, or are on the operator's list, are not stored, wherever they come from."""

import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from kale_tasks.errors import BadConfig
from kale_tasks.images.decode import convert
from kale_tasks.images.step import Images
from kale_tasks.lake import tombstones
from kale_tasks.lake.commit import Moved, Swap
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.progress import Silent
from kale_tasks.runner import commit
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from kale_tasks.takedown.sweep import rewritten_steps, take_down
from tests.images.dns import name_server
from tests.images.plain import Plain, image, plain_server
from tests.images.world import KEY, Pairs, images, lake_with, pairs_of, settings, uid


def stored(lake: Lake) -> bytes:
    """Return all bytes of the shards and of the local spool."""
    spool = Path(lake.settings.images.spool)
    local = b"".join(path.read_bytes() for path in spool.rglob("*") if path.is_file())
    return local + b"".join(
        lake.storage.read(e.path) for e in lake.storage.entries("images") if e.path.endswith(".tar")
    )


def lake_of(tmp_path: Path, server: Plain, *overrides: str) -> tuple[Lake, Settings]:
    """Return a lake with ten pairs."""
    of = settings(tmp_path, *overrides)
    return lake_with(of, pairs_of([server.url(i) for i in range(10)])), of


def test_an_image_that_was_taken_down_by_hash_does_not_come_back_at_another_address(tmp_path: Path) -> None:
    with plain_server() as server:
        lake, of = lake_of(tmp_path, server)
        tombstones.add(lake, {"sha256": [hashlib.sha256(image(3)).hexdigest()]})
        rows = images(lake, of)
    assert set(rows) == {uid(server.url(i)) for i in range(10) if i != 3}
    committed = lake.committed("images", KEY)
    assert committed
    assert committed.dropped == {"takedown": 1}
    assert image(3) not in stored(lake)


def test_an_image_whose_url_was_taken_down_is_not_stored(tmp_path: Path) -> None:
    with plain_server() as server:
        lake, of = lake_of(tmp_path, server)
        tombstones.add(lake, {"url": [server.url(5)]})
        assert uid(server.url(5)) not in images(lake, of)


@pytest.mark.parametrize("kind", ["host", "url"])
def test_an_image_that_a_redirect_takes_from_what_was_taken_down_is_not_stored(tmp_path: Path, kind: str) -> None:
    with plain_server() as server, name_server() as names:
        names.known = {"moved.test": ["127.0.0.1"]}
        of = settings(tmp_path, f"images.fetch.name_servers=['{names.address}']")
        urls = [server.url(1), server.url(2, "moved")]
        lake = lake_with(of, pairs_of(urls))
        value = "moved.test" if kind == "host" else f"http://moved.test:{server.port}/ok/2.jpg"
        tombstones.add(lake, {kind: [value]})
        assert set(images(lake, of)) == {uid(urls[0])}
    assert image(2) not in stored(lake)


@pytest.mark.parametrize("perceptual", [False, True])
def test_known_bad_content_is_counted_and_never_stored(tmp_path: Path, perceptual: bool) -> None:
    with plain_server() as server:
        of = settings(tmp_path, "images.known_bad=lists/bad.txt", "images.near_bits=0")
        phash = convert(image(3), (), of.images.decode)[0].phash % (1 << 64)
        line = f"{phash:016x}" if perceptual else hashlib.sha256(image(3)).hexdigest().upper()
        path = tmp_path / "landing" / "lists" / "bad.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"# the operator's own list\n{line}\n")
        lake = lake_with(of, pairs_of([server.url(i) for i in range(10)]))
        rows = images(lake, of)
    assert uid(server.url(3)) not in rows
    committed = lake.committed("images", KEY)
    assert committed
    assert committed.dropped["known_bad"] >= 1
    assert committed.rows + committed.dropped["known_bad"] == 10
    assert image(3) not in stored(lake)


def test_a_line_that_is_no_hash_is_refused_without_being_quoted(tmp_path: Path) -> None:
    with plain_server() as server:
        lake, of = lake_of(tmp_path, server, "images.known_bad=bad.txt")
        (tmp_path / "landing").mkdir(exist_ok=True)
        (tmp_path / "landing" / "bad.txt").write_text("secret\n")
        with pytest.raises(BadConfig, match="line 1 is neither") as raised:
            images(lake, of)
    assert "secret" not in str(raised.value)


def _adopted(lake: Lake, of: Settings, key: str, pictures: dict[str, bytes]) -> dict[str, str]:
    """Commit a key whose pictures are in its landing; return the SHA-256 of the images that are stored, by URL."""
    folder = Path(of.landing, key)
    folder.mkdir(parents=True)
    for number, (url, content) in enumerate(pictures.items()):
        (folder / f"{number}.jpg").write_bytes(content)
        (folder / f"{number}.json").write_text(json.dumps({"url": url}))
    execute(Run(Pairs(pairs_of(pictures)), lake, of, key))
    execute(Run(Images(), lake, of, key))
    urls = {uid(url): url for url in pictures}
    return {urls[row["uid"]]: row["sha256"] for row in lake.arrow("images", key).to_pylist() if row["status"] == "ok"}


def _copy(content: bytes, quality: int, size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(content)).resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality)
    return out.getvalue()


def test_near_copies_of_an_image_that_was_taken_down_go_and_do_not_come_back(tmp_path: Path) -> None:
    of = settings(tmp_path, "images.near_bits=3")
    lake, first, later = Lake(of), "2026-11-01", "2026-11-02"
    urls = [f"https://a.example/{n}.jpg" for n in range(6)]
    before = {url: image(n) for n, url in enumerate(urls)}
    before["https://b.example/copy.jpg"] = _copy(image(3), 70, (80, 60))
    known = _adopted(lake, of, first, before)
    assert set(known) == set(before)
    take_down(lake, of, {"sha256": [known[urls[3]]]}, rewritten_steps(lake), Silent())
    left = set(lake.arrow("images", first)["uid"].to_pylist())
    assert left == {uid(url) for url in before} - {uid(urls[3]), uid("https://b.example/copy.jpg")}
    after = {"https://c.example/again.jpg": _copy(image(3), 85, (100, 75)), "https://c.example/other.jpg": image(40)}
    assert set(_adopted(lake, of, later, after)) == {"https://c.example/other.jpg"}
    committed = lake.committed("images", later)
    assert committed and committed.dropped == {"takedown": 1}


def test_a_plain_picture_is_taken_down_by_its_bytes_only(tmp_path: Path) -> None:
    of = settings(tmp_path, "images.near_bits=3", "images.placeholder_count=1000")
    lake = Lake(of)
    plain = {f"https://a.example/{n}.png": _plain(n) for n in range(30)}
    known = _adopted(lake, of, "2026-11-01", plain)
    take_down(lake, of, {"sha256": [known["https://a.example/4.png"]]}, rewritten_steps(lake), Silent())
    assert lake.arrow("images", "2026-11-01").num_rows == len(plain) - 1


def _plain(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (100, 100), (200 + shade,) * 3).save(out, "PNG")
    return out.getvalue()


def test_a_commit_between_the_list_and_the_look_of_its_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = settings(tmp_path, "images.near_bits=3")
    lake, url, again = Lake(of), "https://a.example/3.jpg", "https://b.example/again.jpg"
    known = _adopted(lake, of, "2026-11-01", {url: image(3)})
    stalled: list[Swap] = []
    record, swap = tombstones.record_phashes, commit.swap

    def stall(lake: Lake, request: Swap) -> Committed:
        if request.table == "images":
            stalled.append(request)
            raise InterruptedError
        return swap(lake, request)

    def record_late(lake: Lake, name: str) -> bool:
        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(commit, "swap", stall)
            _adopted(lake, of, "2026-11-02", {again: _copy(image(3), 70, (80, 60))})
        return record(lake, name)

    monkeypatch.setattr(tombstones, "record_phashes", record_late)
    take_down(lake, of, {"sha256": [known[url]]}, rewritten_steps(lake), Silent())
    (request,) = stalled
    with pytest.raises(Moved):
        swap(lake, request)


def test_lists_are_read_once_however_many_keys_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = settings(tmp_path)
    lake, read = Lake(of), Counter[str]()
    for number in range(4):
        known = _adopted(lake, of, f"2026-11-0{number + 1}", {f"https://a.example/{number}.jpg": image(number)})
    tombstones.add(lake, {"sha256": list(known.values())})
    real = lake.storage.read
    monkeypatch.setattr(lake.storage, "read", lambda path, *more: (read.update([path]), real(path, *more))[1])
    assert tombstones.record_phashes(lake, "a") and not tombstones.record_phashes(lake, "a")
    assert max(count for path, count in read.items() if path.endswith("list.json")) == 2
