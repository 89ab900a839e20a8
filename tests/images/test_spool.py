"""The local file of an unfinished part."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from kale_tasks.images.spool import Spool

_IMAGES = {f"{i:032x}": os.urandom(20_000) for i in range(50)}


def _fill(path: Path, kill: bool) -> None:
    with Spool(path) as spool:
        for uid, image in _IMAGES.items():
            spool.add({"uid": uid, "status": "ok"}, image)
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_fill, args=(tmp_path / "part", True))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Spool(tmp_path / "part") as spool:
        assert {uid: spool.image(uid) for uid in _IMAGES} == _IMAGES


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_image_is_dropped_with_those_after_it(tmp_path: Path, damage: str) -> None:
    _fill(tmp_path / "part", kill=False)
    data = (tmp_path / "part").read_bytes()
    uids = list(_IMAGES)
    at = data.index(_IMAGES[uids[40]])
    (tmp_path / "part").write_bytes(data[:at] + b"?" * 10 + (b"" if damage == "cut" else data[at + 10 :]))
    with Spool(tmp_path / "part") as spool:
        assert list(spool.rows) == uids[:40]
        spool.add({"uid": uids[40]}, b"again")
    with Spool(tmp_path / "part") as spool:
        assert list(spool.rows) == uids[:41]
        assert spool.image(uids[40]) == b"again"
        assert spool.image(uids[39]) == _IMAGES[uids[39]]


@pytest.mark.parametrize("content", [b"cut", b"not a spool" * 100])
def test_a_file_that_cannot_be_read_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part").write_bytes(content)
    with Spool(tmp_path / "part") as spool:
        assert spool.rows == {}
        spool.add({"uid": "a"}, b"image")
    with Spool(tmp_path / "part") as spool:
        assert spool.image("a") == b"image"


def test_two_processes_do_not_share_a_file(tmp_path: Path) -> None:
    with Spool(tmp_path / "part") as first, Spool(tmp_path / "part") as second:
        first.add({"uid": "a"}, b"first")
        second.add({"uid": "a"}, b"second")
        assert (first.image("a"), second.image("a")) == (b"first", b"second")
    with Spool(tmp_path / "part") as again:
        assert again.image("a") == b"first"


def test_a_removed_spool_leaves_no_file(tmp_path: Path) -> None:
    with Spool(tmp_path / "run" / "part") as spool:
        spool.add({"uid": "a"}, b"image")
        spool.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_another_process_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "part"
    with Spool(path) as first:
        first.add({"uid": "a"}, b"first")
        with Spool(path) as second:
            second.remove()
        assert path.exists()


def test_two_processes_write_their_shards_to_different_files(tmp_path: Path) -> None:
    path = tmp_path / "run" / "part"
    with Spool(path) as first, multiprocessing.get_context("fork").Pool(1) as other:
        assert other.apply(_shard_path, [path]) != first.shard_path


def _shard_path(path: Path) -> Path:
    with Spool(path) as spool:
        return spool.shard_path


def test_a_shard_can_be_written_after_another_process_has_removed_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "part"
    with Spool(path) as first, Spool(path) as second:
        first.remove()
        assert not path.parent.exists()
        second.shard_path.write_bytes(b"shard")
