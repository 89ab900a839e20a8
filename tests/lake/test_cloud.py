"""What obstore opens does what a release needs: a store in memory, and a real S3 server behind the same class.

Neither is Google's nor Azure's: against those, `kale doctor` has to be asked.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.lake.storage.cloud import CloudStorage
from kale_tasks.lake.storage.contract import REQUIREMENTS, Requirement
from kale_tasks.lake.storage.open import open_place, open_storage
from kale_tasks.progress import Silent
from kale_tasks.release.built import read
from kale_tasks.release.publish import roll_back, target
from kale_tasks.takedown.certificate import finish
from kale_tasks.takedown.sweep import take_down
from tests.lakes import settings_of
from tests.release.conftest import world
from tests.release.world import pipeline, uid
from tests.services.s3 import ACCESS_KEY, SECRET_KEY

obstore = pytest.importorskip("obstore.store", reason="obstore is not installed")


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.server)])
def storage(request: pytest.FixtureRequest) -> CloudStorage:
    """An empty place."""
    if request.param == "memory":
        return CloudStorage("gs://bucket/place", obstore.MemoryStore())
    server = request.getfixturevalue("s3")
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": "us-east-1"}
    options = {"allow_http": True}
    store = obstore.S3Store(server.bucket(), prefix="place", endpoint=server.endpoint, client_options=options, **keys)
    return CloudStorage("gs://bucket/place", store)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_the_store_keeps_its_promises(storage: CloudStorage, requirement: Requirement) -> None:
    assert requirement.fault(storage, "probe") == ""


def test_files_read_back_in_ranges_and_below_their_folder_only(storage: CloudStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    storage.put("a/x", bytes(range(200)))
    storage.put("ab/y", tmp_path / "file")
    storage.put("a/z", iter([b"1" * 6_000_000, b"2" * 6_000_000]))
    assert storage.read("a/x", 10, 5) == bytes(range(10, 15)) and storage.read("a/x", 190, 99) == bytes(range(190, 200))
    assert storage.read("a/x", 200) == storage.read("a/x", 5, 0) == b"" and storage.read("ab/y") == b"from a file"
    assert {(entry.path, entry.size) for entry in storage.entries("a")} == {("a/x", 200), ("a/z", 12_000_000)}
    storage.copy("a/x", "b/x")
    storage.delete("a/x")
    assert storage.read("b/x") == bytes(range(200)) and not storage.exists("a/x")


def test_a_file_whose_blocks_end_with_an_error_does_not_appear(storage: CloudStorage) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"1" * 6_000_000
        raise ValueError("damaged")

    with pytest.raises(Exception, match="damaged"):
        storage.put("a/x", blocks())
    assert not storage.exists("a/x")


def test_arrow_writes_nothing_there(storage: CloudStorage) -> None:
    with pytest.raises(NotImplementedError, match=r"write with CloudStorage\.put"):
        storage.arrow.create_dir("a")


def test_releases_are_published_rolled_back_and_withdrawn_there(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: dict[str, Any] = {"gs://bucket/out": obstore.MemoryStore()}
    monkeypatch.setattr("kale_tasks.lake.storage.cloud._open", stores.__getitem__)
    sets = ["publish.target=gs://bucket/out", "maintenance.run_days=0", "maintenance.grace_hours=0"]
    it = world("folder", tmp_path, request, *sets)
    it.fill("a", rows=40)
    first = it.release("a")
    assert it.publish("a") == f"gs://bucket/out/{first}"
    it.fill("a", rows=40, a="second ")
    it.release("a")
    it.publish("a")
    assert roll_back(it.lake, it.settings, Silent())[0] == first == target(it.settings).current().version
    record = take_down(it.lake, it.settings, {"uid": [uid("a", 3)]}, pipeline(40), Silent())
    last = it.release("a")
    it.publish("a")
    finish(it.lake, it.settings, record, now=True)
    place = open_place("gs://bucket/out", it.settings.s3)
    listed = {entry.path.removeprefix(f"{last}/") for entry in place.entries("")}
    assert {file.name for file in read(it.lake, "a").files} == {name for name in listed if name.startswith("data/")}
    assert set(target(it.settings).history()) == {last}


@pytest.mark.parametrize("address", ["gs://bucket/lake", "az://container/lake"])
def test_a_lake_is_refused_there(address: str) -> None:
    with pytest.raises(BadConfig, match="cannot hold a lake"):
        open_storage(address, settings_of([]).s3)
