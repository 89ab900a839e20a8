"""Files appear whole or not at all; a pointer has one winner; a store that breaks a promise is named."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from kale_tasks.cli.doctor import examine
from kale_tasks.lake.storage import contract
from kale_tasks.lake.storage.contract import REQUIREMENTS, Requirement
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.storage.overlay import OverlayStorage
from kale_tasks.lake.storage.s3 import S3Storage
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings
from tests.lakes import lake_of, lake_sets, settings_of

Opened = tuple[Lake, Settings]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_the_store_does_what_the_lake_needs(lake: Opened, requirement: Requirement) -> None:
    assert requirement.fault(lake[0].storage, "probe") == ""


def test_the_examination_of_a_store_leaves_no_file(lake: Opened) -> None:
    before = {entry.path for entry in lake[0].storage.entries("")}
    assert list(contract.broken_requirements(lake[0].storage, "probe")) == []
    assert {entry.path for entry in lake[0].storage.entries("")} == before


def test_a_put_file_reads_back_in_ranges(lake: Opened) -> None:
    storage = lake[0].storage
    storage.put("a/b/c.bin", bytes(range(200)))
    assert storage.read("a/b/c.bin", 10, 5) == bytes(range(10, 15))
    assert storage.read("a/b/c.bin", 190) == bytes(range(190, 200))


def unconditional(storage: FolderStorage, path: str, data: bytes, tag: str | None) -> bool:
    storage.put(path, data)
    return True


def always_refused(storage: FolderStorage, path: str, data: bytes) -> bool:
    return False


def forgiving(storage: FolderStorage, path: str) -> bytes:
    return Path(storage.root, path).read_bytes() if storage.exists(path) else b""


def delayed(storage: FolderStorage, prefix: str) -> Any:
    return iter(())


BROKEN: dict[str, tuple[str, Callable[..., Any], set[str]]] = {
    "conditions are ignored": ("_put_if", unconditional, {"create", "replace"}),
    "a repeated request is refused": ("_has", always_refused, {"repeat"}),
    "listings lag behind": ("entries", delayed, {"list", "clock"}),
    "a missing file is empty": ("read", forgiving, {"missing"}),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_doctor_names_each_promise_that_a_store_breaks(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, broken, expected = BROKEN[fault]
    settings = settings_of(lake_sets("folder", tmp_path))
    monkeypatch.setattr(FolderStorage, name, broken)
    rows = {check.name: check.as_row() for check in examine(settings) if check.name.startswith("storage ")}
    assert {row.removeprefix("storage ") for row, shown in rows.items() if shown["state"] == "broken"} == expected
    assert all(shown["what to do"] for shown in rows.values() if shown["state"] == "broken")


def test_a_clock_that_is_off_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 90)
    found = list(contract.broken_requirements(FolderStorage(tmp_path), "probe"))
    assert [(requirement.name, fault) for requirement, fault in found] == [
        ("clock", "the store's clock is -90 s off this machine's")
    ]


def lose_next_answer(storage: S3Storage) -> list[str]:
    """Let the next PutObject reach the server, and lose its answer. Returns the URLs of requests sent from then on."""
    sent: list[str] = []

    def send(request: Any, **_: Any) -> None:
        sent.append(request.url)
        if len(sent) == 1:
            assert URLLib3Session().send(request).status_code == 200
            raise ConnectionClosedError(endpoint_url=request.url)

    storage.client.meta.events.register("before-send.s3.PutObject", send)
    return sent


@pytest.fixture
def on_s3(tmp_path: Path, request: pytest.FixtureRequest) -> S3Storage:
    """The storage of a lake on S3."""
    storage = lake_of(lake_sets("s3", tmp_path, request))[0].storage
    assert isinstance(storage, S3Storage)
    return storage


@pytest.mark.parametrize("replaces", [False, True])
def test_a_conditional_write_whose_answer_is_lost_succeeds(on_s3: S3Storage, replaces: bool) -> None:
    if replaces:
        on_s3.put("pointer", b"old")
    tag = on_s3.tag("pointer")
    sent = lose_next_answer(on_s3)
    assert on_s3.put_if("pointer", b"new", tag)
    assert (len(sent), on_s3.read("pointer")) == (2, b"new")
    assert not on_s3.put_if("pointer", b"newer", tag)


def test_arrow_writes_nothing_through_an_overlay(tmp_path: Path) -> None:
    upper, lower = FolderStorage(tmp_path / "upper"), FolderStorage(tmp_path / "lower")
    lower.put("a", b"below")
    arrow = OverlayStorage(upper, lower, hidden=".preview").arrow
    for write in (arrow.open_output_stream, arrow.delete_file, arrow.create_dir):
        with pytest.raises(NotImplementedError, match=r"write with OverlayStorage\.put"):
            write("a")
    assert lower.read("a") == b"below" and not list(upper.entries(""))
