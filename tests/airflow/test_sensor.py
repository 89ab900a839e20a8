"""Waiting for landing files: marked, no longer growing, or never coming."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.airflow import sensor as landing
from kale_tasks.airflow.sensor import LandingTrigger, list_landing
from kale_tasks.lake.keys import MARKER

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


def _wait(seconds: float, seen: Any = ()) -> dict[str, Any]:
    trigger = LandingTrigger(
        key=KEY, kale_conn_id="none", poll_seconds=0.1, until=time.time() + seconds, seen=dict(seen)
    )

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return dict(asyncio.run(first()))


def test_marked_files_are_complete_at_once(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"1")
    assert list_landing(KEY, {})[1] is False
    (folder / MARKER).touch()
    files, marked = list_landing(KEY, {})
    assert marked and len(files) == 1


def test_a_marker_without_files_is_an_empty_day(folder: Path) -> None:
    (folder / MARKER).touch()
    assert list_landing(KEY, {}) == ({}, False)


def test_files_are_complete_when_two_looks_see_the_same(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"1")
    assert _wait(20) == {"files": 1, "error": ""}


def test_files_that_grow_are_not_taken(folder: Path) -> None:
    file = folder / "a.parquet"

    async def grow() -> None:
        while True:
            with file.open("ab") as out:
                out.write(b"1")
            await asyncio.sleep(0.02)

    async def both() -> Any:
        growing = asyncio.create_task(grow())
        trigger = LandingTrigger(key=KEY, kale_conn_id="none", poll_seconds=0.1, until=time.time() + 1, seen={})
        try:
            async for event in trigger.run():
                return event.payload
        finally:
            growing.cancel()

    assert asyncio.run(both()) == {"files": 0, "error": ""}


def test_a_day_without_files_ends_when_the_time_is_over(folder: Path) -> None:
    assert _wait(0.3) == {"files": 0, "error": ""}


def test_a_landing_area_that_cannot_be_read_is_an_error_and_no_empty_day(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALE_LANDING", "s3://nowhere/landing")
    monkeypatch.setenv("KALE_S3__ENDPOINT", "http://127.0.0.1:9")
    assert _wait(20)["error"]


def test_a_trigger_survives_its_triggerer(folder: Path) -> None:
    trigger = LandingTrigger(key=KEY, kale_conn_id="c", poll_seconds=1, until=2.0, seen={"a": [1, "t"]})
    path, arguments = trigger.serialize()
    again = LandingTrigger(**arguments)
    assert path == "kale_tasks.airflow.sensor.LandingTrigger"
    assert again.serialize() == (path, arguments)
