"""How often a run waits for the store, one request after the other: far from the store, that is its time."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.images.step import Images
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.images.plain import plain_server
from tests.images.world import KEY, lake_with, pairs_of, settings

REQUESTS = ("put", "_put_if", "tag", "read", "entries", "delete", "copy")
DELAY = 0.02
ROUNDS = 34  # of a run with one part
BESIDE = ("fetch-slot", "leases")  # threads that renew something while the others work


def test_few_requests_of_a_run_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plain_server() as server:
        of = settings(tmp_path, "parts.part_rows=10")
        lake = lake_with(of, pairs_of([server.url(number) for number in range(10)]))
        seen = _watched(monkeypatch)
        execute(Run(Images(), lake, of, KEY))
    assert 20 < _rounds(seen) <= ROUNDS


def _watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Let each request to the store take longer; the list gets when each of them begins and ends."""
    seen, inside = list[tuple[float, float]](), threading.local()

    def watch(name: str) -> None:
        request = getattr(FolderStorage, name)

        def slow(*given: Any) -> Any:
            if getattr(inside, "request", False) or threading.current_thread().name in BESIDE:
                return request(*given)
            began, inside.request = time.monotonic(), True
            time.sleep(DELAY)
            try:
                return request(*given)
            finally:
                inside.request = False
                seen.append((began, time.monotonic()))

        monkeypatch.setattr(FolderStorage, name, slow)

    for name in REQUESTS:
        watch(name)
    return seen


def _rounds(seen: list[tuple[float, float]]) -> int:
    """Return the most requests of which each began after the one before had ended."""
    rounds, last = 0, 0.0
    for began, ended in sorted(seen, key=lambda one: one[1]):
        if began >= last:
            rounds, last = rounds + 1, ended
    return rounds
