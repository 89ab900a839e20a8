"""What a chunk costs does not grow with the number of chunks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan, work
from tests.lakes import lake_of
from tests.steps import Numbers

CHUNKS = 12


def test_a_chunk_asks_for_its_own_parts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, settings = lake_of([f"warehouse={tmp_path}", "parts.part_rows=5", "parts.chunk_rows=10"])
    run = Run(Numbers(10 * CHUNKS), lake, settings, "2026-11-01")
    chunks = plan(run).chunks
    listed, entries = list[str](), FolderStorage.entries

    def noted(storage: FolderStorage, prefix: str) -> Iterator[Entry]:
        listed.append(prefix)
        return entries(storage, prefix)

    monkeypatch.setattr(FolderStorage, "entries", noted)
    assert len(work(run, *chunks[1:])) == 2 * (CHUNKS - 1)
    assert len(work(run, *chunks)) == 2  # those that are finished are not made again
    assert not any("receipts" in prefix for prefix in listed)
    assert sorted(run.receipts()) == list(range(2 * CHUNKS))
