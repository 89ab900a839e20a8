"""Images that were taken down, or are on the operator's list, are not stored, wherever they come from."""

import hashlib
from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.images.decode import convert
from kale_tasks.lake import tombstones
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings
from tests.images.plain import Plain, image, plain_server
from tests.images.world import KEY, images, lake_with, pairs_of, settings, uid


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


def test_an_image_of_a_host_that_was_taken_down_is_not_stored(tmp_path: Path) -> None:
    with plain_server() as server:
        lake, of = lake_of(tmp_path, server)
        tombstones.add(lake, {"url": [server.url(5)]})
        assert uid(server.url(5)) not in images(lake, of)


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
