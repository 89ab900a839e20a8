"""What is sent to the Hub is read once, hashed as it is sent, and never received whole if it is damaged."""

import hashlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO, UnsupportedOperation
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.progress import Silent
from kale_tasks.release.files import ReleaseFile
from kale_tasks.release.targets import checked
from kale_tasks.release.targets.base import Publication
from kale_tasks.release.targets.checked import PIECE, CheckedFile
from kale_tasks.release.targets.hub import Hub, _upload_groups
from kale_tasks.release.targets.hub_files import _enlarge
from tests.hub.parts import PartsHub
from tests.hub.server import Fault, HubServer
from tests.lakes import lake_of, lake_sets, settings_of
from tests.release.conftest import use_hub

REPO = "datasets/someone/captions"
BLOCK = 1000
SIZES = [0, 1, 999, 1000, 1001, 4500]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.server)])
def storage(tmp_path: Path, request: pytest.FixtureRequest) -> Storage:
    return lake_of(lake_sets(request.param, tmp_path, request))[0].storage


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "_BLOCK", BLOCK)
    monkeypatch.setattr(checked, "_block", checked._Block())
    instant = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", instant)


@pytest.fixture
def in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PartsHub]:
    server = PartsHub(tmp_path / "parts", 1500)
    use_hub(server, monkeypatch)
    yield server
    server.stop()


def stored(storage: Storage, size: int, ending: str = "parquet") -> ReleaseFile:
    """A file of the warehouse, and what was recorded of it."""
    data = random.Random(size).randbytes(size)
    storage.put(f"files/{size}", data)
    return ReleaseFile(f"files/{size}", f"data/{size}.{ending}", "captions", 1, size, hashlib.sha256(data).hexdigest())


def damage(storage: Storage, file: ReleaseFile) -> str:
    """Change one bit of a file; returns what it hashes to now."""
    data = bytearray(storage.read(file.path))
    data[len(data) // 2] ^= 1
    storage.put(file.path, bytes(data))
    return hashlib.sha256(data).hexdigest()


def send(storage: Storage, files: list[ReleaseFile]) -> None:
    listed = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in files]
    manifest = json.dumps({"version": "v1", "files": listed}).encode()
    place = Hub(f"hf://{REPO}", settings_of([]))
    pages = {"README.md": b"# x\n", "manifest.json": manifest}
    place.publish(Publication("v1", storage, files, pages), place.current(), Silent())


def shown(hub: HubServer) -> dict[str, str]:
    """The hash of each data file that readers get."""
    repo = hub.repo(REPO)
    files = {name: blob for name, blob in repo.head.files.items() if name.startswith("data/")}
    return {name: hashlib.sha256(repo.read(blob)).hexdigest() for name, blob in files.items()}


def test_every_byte_is_read_once_and_no_copy_is_made(
    storage: Storage, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [stored(storage, size) for size in SIZES]
    taken = Counter[str]()
    read: Callable[..., bytes] = type(storage).read

    def counted(self: Storage, path: str, *of: Any) -> bytes:
        data = read(self, path, *of)
        taken[path] += len(data)
        return data

    def counted_into(self: FolderStorage, memory: memoryview, path: str, offset: int = 0) -> int:
        size = read_into(self, memory, path, offset)
        taken[path] += size
        return size

    monkeypatch.setattr(type(storage), "read", counted)
    read_into = FolderStorage.read_into
    monkeypatch.setattr(FolderStorage, "read_into", counted_into)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", None)
    send(storage, files)
    assert shown(hub) == {file.name: file.sha256 for file in files}
    for file in files:  # its first bytes once more: by them the Hub tells text from data
        assert taken[file.path] == file.bytes + min(file.bytes, 512)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, 5 * PIECE // 2])
def test_a_file_is_handed_to_the_network_in_large_pieces(size: int) -> None:
    data = random.Random(size).randbytes(size)
    request = httpx2.Request("PUT", "https://example.org", content=BytesIO(data))
    _enlarge(request)
    pieces = list(cast("Iterator[bytes]", request.stream))
    assert b"".join(pieces) == data and all(len(piece) >= PIECE for piece in pieces[:-1])
    assert len(pieces) == -(-size // PIECE)
    assert request.headers["Content-Length"] == str(size)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_damaged_file_is_never_received_whole(storage: Storage, hub: HubServer, ending: str) -> None:
    files = [stored(storage, size, ending) for size in SIZES]
    wrong = damage(storage, files[-1])
    with pytest.raises(BadData, match=f"{files[-1].path} has other bytes than were written. Run `kale repair`"):
        send(storage, files)
    assert not {wrong, files[-1].sha256} & set(hub.received) and not shown(hub)


@pytest.mark.parametrize("length", [0, 700, 2 * BLOCK, 4700])
def test_a_file_of_another_length_is_never_received_whole(tmp_path: Path, hub: HubServer, length: int) -> None:
    storage = lake_of(lake_sets("folder", tmp_path))[0].storage
    file = stored(storage, 4500)
    storage.put(file.path, bytes(length))
    with pytest.raises(BadData, match=f"{file.path} has {length} bytes instead of 4500"):
        send(storage, [file])
    assert not hub.received and not shown(hub)


def test_a_file_that_the_hub_has_is_not_read_again(storage: Storage, hub: HubServer) -> None:
    files = [stored(storage, size) for size in SIZES]
    hub.faults = [Fault("POST .*/commit/main", 400)]
    with pytest.raises(Exception, match="400"):
        send(storage, files)
    damage(storage, files[-1])
    send(storage, files)
    assert shown(hub) == {file.name: file.sha256 for file in files}
    assert set(hub.received.values()) == {1}


def test_a_file_whose_upload_fails_is_sent_again_from_its_start(storage: Storage, hub: HubServer) -> None:
    files = [stored(storage, size) for size in SIZES]
    hub.faults = [Fault("PUT /lfs/", 503, times=3), Fault("PUT /lfs/", 0, times=2)]
    send(storage, files)
    assert shown(hub) == {file.name: file.sha256 for file in files}


def test_a_very_large_file_is_sent_in_parts_and_a_failed_part_again(storage: Storage, in_parts: PartsHub) -> None:
    files = [stored(storage, size) for size in SIZES]
    in_parts.faults = [Fault("PUT /part/.*/2", 503), Fault("PUT /part/.*/3", 0)]
    send(storage, files)
    assert shown(in_parts) == {file.name: file.sha256 for file in files}
    assert len(in_parts.parts) == len([part for size in SIZES for part in range(0, size, 1500)])


def test_a_damaged_file_is_not_completed_in_parts(storage: Storage, in_parts: PartsHub) -> None:
    files = [stored(storage, size) for size in SIZES]
    damage(storage, files[-1])
    with pytest.raises(BadData, match="has other bytes than were written"):
        send(storage, files)
    assert not shown(in_parts) and not any("/whole/" in line and files[-1].sha256 in line for line in in_parts.requests)


def test_bytes_are_not_given_before_those_in_front_of_them(tmp_path: Path) -> None:
    storage = lake_of(lake_sets("folder", tmp_path))[0].storage
    source = CheckedFile(storage, stored(storage, 4500))
    source.seek(2000)
    with pytest.raises(UnsupportedOperation, match="not read that far"):
        source.read(1)
    source.seek(0)
    assert len(source.read()) == 4500
    source.seek(2000)
    assert source.read() == storage.read("files/4500", 2000)


def test_files_that_a_thread_reads_in_turns_are_not_mixed_up(tmp_path: Path) -> None:
    storage = lake_of(lake_sets("folder", tmp_path))[0].storage
    files = [stored(storage, size) for size in (4500, 3300)]
    sources, found = [CheckedFile(storage, file) for file in files], [b"", b""]
    for _ in range(12):
        found = [read + source.read(400) for read, source in zip(found, sources, strict=True)]
    assert found == [storage.read(file.path) for file in files]


def test_a_read_that_failed_half_way_leaves_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = lake_of(lake_sets("folder", tmp_path))[0].storage
    source = CheckedFile(storage, stored(storage, 2500))
    first = source.read(BLOCK)

    def fails(_: Storage, memory: memoryview, *of: object) -> int:
        memory[:10] = bytes(10)
        raise OSError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "read_into", fails)
        with pytest.raises(OSError, match="Input/output"):
            source.read(BLOCK)
    source.seek(0)
    assert source.read() == storage.read("files/2500") and first == storage.read("files/2500", 0, BLOCK)


@given(st.lists(st.integers(0, 6_000_000_000), max_size=300))
def test_files_are_sent_in_groups_of_bounded_number_and_size(sizes: list[int]) -> None:
    files = [SimpleNamespace(bytes=size) for size in sizes]
    groups = list(_upload_groups(files))
    assert [file for group in groups for file in group] == files
    for group in groups:
        assert 0 < len(group) <= 100
        assert sum(file.bytes for file in group[:-1]) < 5_000_000_000
    assert sum(len(group) < 100 and sum(f.bytes for f in group) < 5_000_000_000 for group in groups) <= 1, "the last"
