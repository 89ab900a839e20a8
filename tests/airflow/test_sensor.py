"""Waiting for landing files: marked, no longer growing, or never coming."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.airflow import sensor as landing
from kale_tasks.airflow.sensor import LandingTrigger, list_landing
from kale_tasks.lake.keys import MANIFEST, MARKER

KEY = "2026-11-01"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The landing folder of a key; there is no connection, the environment holds."""

    async def from_environment(self: LandingTrigger) -> dict[str, str]:
        return {}

    monkeypatch.setattr(landing.LandingTrigger, "_environment", from_environment)
    monkeypatch.setenv("KALE_LANDING", str(tmp_path))
    (tmp_path / KEY).mkdir()
    return tmp_path / KEY


def _wait(seconds: float, quiet_minutes: float = 0) -> dict[str, Any]:
    trigger = LandingTrigger(
        key=KEY,
        kale_conn_id="none",
        poll_seconds=0.1,
        quiet_minutes=quiet_minutes,
        until=time.time() + seconds,
        seen={},
    )

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return dict(asyncio.run(first()))


def test_marked_files_are_complete_at_once(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"1")
    assert list_landing(KEY, {})[1] is None
    (folder / MARKER).touch()
    files, marked = list_landing(KEY, {})
    assert marked and len(files) == 1


def test_a_marker_without_files_is_an_empty_day(folder: Path) -> None:
    (folder / MARKER).touch()
    assert list_landing(KEY, {}) == ({}, None)


def test_files_are_complete_when_two_looks_see_the_same(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"1")
    assert _wait(20) == {"files": 1, "error": "", "passing": False}


def test_files_that_grow_are_not_taken(folder: Path) -> None:
    file = folder / "a.parquet"

    async def grow() -> None:
        while True:
            with file.open("ab") as out:
                out.write(b"1")
            await asyncio.sleep(0.02)

    async def both() -> Any:
        growing = asyncio.create_task(grow())
        trigger = LandingTrigger(
            key=KEY, kale_conn_id="none", poll_seconds=0.1, quiet_minutes=0, until=time.time() + 1, seen={}
        )
        try:
            async for event in trigger.run():
                return event.payload
        finally:
            growing.cancel()

    assert asyncio.run(both()) == {"files": 0, "error": "", "passing": False}


def test_a_day_without_files_ends_when_the_time_is_over(folder: Path) -> None:
    assert _wait(0.3) == {"files": 0, "error": "", "passing": False}


def test_a_landing_area_that_cannot_be_read_is_an_error_and_no_empty_day(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALE_LANDING", "s3://nowhere/landing")
    monkeypatch.setenv("KALE_S3__ENDPOINT", "http://127.0.0.1:9")
    assert _wait(20)["error"]


def test_a_trigger_survives_its_triggerer(folder: Path) -> None:
    trigger = LandingTrigger(
        key=KEY, kale_conn_id="c", poll_seconds=1, quiet_minutes=3, until=2.0, seen={"a": [1, "t"]}
    )
    path, arguments = trigger.serialize()
    again = LandingTrigger(**arguments)
    assert path == "kale_tasks.airflow.sensor.LandingTrigger"
    assert again.serialize() == (path, arguments)


def test_files_of_which_nothing_says_that_they_are_complete_must_be_old_enough(folder: Path) -> None:
    file = folder / "a.parquet"
    file.write_bytes(b"1")
    assert _wait(0.5, quiet_minutes=1)["files"] == 0
    os.utime(file, (time.time() - 61, time.time() - 61))
    assert _wait(20, quiet_minutes=1)["files"] == 1


def test_files_are_complete_when_all_that_a_manifest_lists_have_their_size(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"files": {"a.parquet": 1, "b/c.csv": 2}}')
    (folder / "a.parquet").write_bytes(b"1")
    assert list_landing(KEY, {})[1] is False
    assert _wait(0.5)["files"] == 0  # though nothing changes
    (folder / "b").mkdir()
    (folder / "b" / "c.csv").write_bytes(b"1")
    assert list_landing(KEY, {})[1] is False
    (folder / "b" / "c.csv").write_bytes(b"12")
    assert list_landing(KEY, {})[1] is True


@pytest.mark.parametrize("text", ['["a.parquet"]', '{"files": {"a.parquet": 1e999}}', "[" * 100_000])
def test_a_broken_manifest_is_an_error_that_says_how_it_must_be(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    (folder / "a.parquet").write_bytes(b"1")
    found = _wait(20)
    assert "must be like" in found["error"] and not found["passing"]


def test_a_store_that_does_not_answer_once_ends_no_day(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.parquet").write_bytes(b"1")
    answers = iter([OSError("503 Slow Down"), OSError("503 Slow Down")])

    def flaky(key: str, environment: Any) -> Any:
        if error := next(answers, None):
            raise error
        return list_landing(key, environment)

    monkeypatch.setattr(landing, "list_landing", flaky)
    assert _wait(20)["files"] == 1
