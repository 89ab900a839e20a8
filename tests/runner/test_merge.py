"""Sealing merges the parts of a run: few files, the same rows, the same bytes whoever does it and whoever dies."""

import os
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.contract.types import Plan
from kale_tasks.errors import Conflict
from kale_tasks.lake import parts, snapshot
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import PartFile, PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner import merge
from kale_tasks.runner.leftovers import delete_leftovers, leftovers
from kale_tasks.runner.receipts import Receipt
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, read_sealed, seal
from kale_tasks.runner.verbs import commit, execute, plan, work
from kale_tasks.runner.verify import verify
from kale_tasks.runner.writer import conform
from kale_tasks.settings import Settings
from tests.kale import kale
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"
PAIRS = Partition("pairs", KEY)
SIDES = ("pairs", "dedup_index", "quarantine")
ALL = timedelta(days=-1)
Opened = tuple[Lake, Settings]


def opened(folder: Path, *sets: str) -> Opened:
    return lake_of([*lake_sets("folder", folder), *sets])


def worked(lake: Opened, rows: int) -> tuple[Run, Plan]:
    """A run whose parts are all made."""
    run = Run(Numbers(rows), *lake, KEY)
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    return run, made


def described(sealed: SealedRun) -> dict[str, Any]:
    return {table: [(file.path, file.sha256, file.rows) for file in files] for table, files in sealed.files.items()}


def rows_of(lake: Lake) -> dict[str, pa.Table]:
    return {table: lake.arrow(table, KEY).sort_by("uid") for table in SIDES}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few kilobytes and row groups of a few rows, so that a small run has many."""
    monkeypatch.setattr(merge, "LEAST_BYTES", 8_000)
    for module in (parts, snapshot):
        monkeypatch.setattr(module, "GROUP_ROWS", 64)


def test_hundreds_of_parts_become_the_few_files_that_rows_allow(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    storage = FolderStorage(tmp_path)
    rows = TABLES["pairs"].selected(["uid", "key", "text", "split"]).empty_table().schema
    receipts = []
    for number in range(250):
        uids = [f"{2 * number + i:032x}" for i in (0, 1)]
        table = pa.Table.from_pylist([{"uid": u, "key": KEY, "text": u[-5:], "split": "stage1"} for u in uids], rows)
        meta = PartMeta("run", number, 2, 2)
        receipts.append(Receipt(meta, {"pairs": parts.write(storage, "pairs/run", meta, conform("pairs", table))}))
    files = merge.merge(storage, "pairs/run", "pairs", receipts)
    sizes = [file.bytes for file in files]
    assert len(files) < 16 and min(sizes[:-1]) >= 8_000 and max(sizes) < 30_000, sizes

    def snapshot_of(files: Sequence[PartFile]) -> Snapshot:
        named = tuple(DataFile(file.path, file.rows, "", "") for file in files)
        return Snapshot(storage, PAIRS, Committed.__new__(Committed), named)

    new, old = snapshot_of(files), snapshot_of([receipt.files["pairs"] for receipt in receipts])
    assert new.count == old.count == 500
    assert new.read(0, 500) == old.read(0, 500) == pa.concat_tables(new.batches())
    assert new.read(201, 437, ["uid"]) == old.read(201, 437, ["uid"])
    first, last = f"{100:032x}", f"{400:032x}"
    assert new.between(first, last) == old.between(first, last)
    assert new.between(first, last).num_rows == 301


def test_a_merged_run_has_the_content_and_the_rows_of_its_parts(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = opened(tmp_path / "merged")
    found = execute(Run(Numbers(700), lake, settings, KEY))
    assert found.parts == 70 and all(1 <= len(lake.files(table, KEY)) < 10 for table in SIDES)
    monkeypatch.setattr(merge, "LEAST_BYTES", 0)  # each part is large enough
    plain, settings = opened(tmp_path / "plain")
    before = execute(Run(Numbers(700), plain, settings, KEY))
    assert len(plain.files("pairs", KEY)) == 70
    assert (found.content, found.identity, found.fingerprint) == (before.content, before.identity, before.fingerprint)
    assert (found.rows, found.dropped, found.quarantined) == (before.rows, before.dropped, before.quarantined)
    assert rows_of(lake) == rows_of(plain)


def test_a_run_with_few_rows_has_one_file_for_each_table(tmp_path: Path) -> None:
    lake, settings = opened(tmp_path)
    execute(Run(Numbers(200), lake, settings, KEY))
    for table in SIDES:
        (file,) = lake.files(table, KEY)
        uids = pq.read_table(Path(lake.storage.root, file.path), columns=["uid"])["uid"].to_pylist()
        assert uids == sorted(uids) and len(uids) == file.rows
        assert pq.read_metadata(Path(lake.storage.root, file.path)).num_row_groups == 1
    assert verify(lake).damaged == []


def test_a_part_that_is_large_enough_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = opened(tmp_path)
    run, _ = worked(lake, 120)
    found = run.receipts()
    monkeypatch.setattr(merge, "LEAST_BYTES", 3_900)
    monkeypatch.setattr(merge, "_THREADS", 1)
    big = found[5].files["pairs"]
    found[5].files["pairs"] = big.__class__(big.path, big.rows, 5_000, big.sha256)  # type: ignore[index]
    files = merge.merge(lake[0].storage, run.writer.folder("pairs"), "pairs", [found[n] for n in sorted(found)])
    assert big.path in [file.path for file in files] and 3 <= len(files) < len(found)
    assert sum(file.rows for file in files) == sum(receipt.meta.kept for receipt in found.values())
    numbers = [int(file.path.rpartition("/")[2].split("-")[1]) for file in files]
    assert numbers == sorted(set(numbers)) and {5, 6} <= set(numbers)


def test_sealing_again_makes_the_same_files(tmp_path: Path, small: None) -> None:
    lake = opened(tmp_path)
    run, made = worked(lake, 700)
    first = seal(run, made)
    assert len(first.files["pairs"]) > 1
    lake[0].storage.delete(f"{run.folder}/run.json")
    for path in first.paths("pairs"):
        lake[0].storage.delete(path)
    assert described(seal(run, made)) == described(first)
    assert commit(run, made).rows == first.rows


def in_process(act: Callable[[], object]) -> Any:
    process = get_context("fork").Process(target=act)
    process.start()
    return process


@pytest.mark.parametrize("event", range(1, 8))
def test_a_seal_that_is_killed_anywhere_is_repeated_with_the_same_result(
    tmp_path: Path, small: None, event: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = opened(tmp_path)
    run, made = worked(lake, 300)

    def die() -> None:
        left, put = [event], FolderStorage._write_beside

        def dying(self: Any, *arguments: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return put(self, *arguments)

        FolderStorage._write_beside = dying  # type: ignore[method-assign]
        seal(run, made)

    process = in_process(die)
    process.join(60)
    killed = process.exitcode == -signal.SIGKILL
    assert killed == (read_sealed(lake[0].storage, run.folder) is None)
    assert killed or event > 4, "it is killed in the merge of each table, and before run.json"
    again = seal(run, made)
    other = opened(tmp_path / "other")
    undisturbed = seal(*worked(other, 300))
    assert described(again) == described(undisturbed)
    assert (again.content, again.rows, again.seal_id) == (undisturbed.content, undisturbed.rows, undisturbed.seal_id)


def test_two_seals_at_once_end_in_one(tmp_path: Path, small: None) -> None:
    lake = opened(tmp_path)
    run, made = worked(lake, 700)
    both = [in_process(lambda: os._exit(seal(run, made).rows % 250)) for _ in range(2)]
    for process in both:
        process.join(60)
    sealed = read_sealed(lake[0].storage, run.folder)
    assert sealed and [process.exitcode for process in both] == [sealed.rows % 250] * 2
    other = opened(tmp_path / "other")
    assert described(sealed) == described(seal(*worked(other, 700)))
    merged = [e.path for e in lake[0].storage.entries(run.folder) if e.path.endswith(".parquet")]
    assert len(merged) == 70 + len(sealed.files["pairs"]), "both wrote the same files"


def test_a_part_whose_bytes_have_changed_is_made_again(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    run, made = worked(lake, 200)
    path = Path(lake[0].storage.root, run.receipts()[3].files["pairs"].path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Conflict, match=r"1 of 20 parts are missing or damaged, such as 3\. Run the step again"):
        seal(run, made)
    assert [meta.number for chunk in made.chunks for meta in work(run, chunk)] == [3]
    assert commit(run, made).rows_in == 200


def test_maintenance_deletes_merged_parts_and_their_receipts_after_the_grace(tmp_path: Path, small: None) -> None:
    lake, settings = opened(tmp_path)
    run, made = worked((lake, settings), 300)
    assert list(leftovers(lake, ALL)) == [], "the parts of a run that is not sealed are its work"
    sealed = seal(run, made)
    assert list(leftovers(lake, timedelta(hours=1))) == []
    found = list(leftovers(lake, ALL))
    receipts = [entry.path for entry in found if "/receipts/" in entry.path]
    assert len(receipts) == 30 and [entry.path for entry in found[-30:]] == receipts
    assert len(found) > 4 * 20
    delete_leftovers(lake, found)
    assert list(leftovers(lake, ALL)) == []
    assert not [meta for chunk in made.chunks for meta in work(run, chunk)], "a sealed run is not worked on again"
    committed = commit(run, made)
    assert (committed.rows, committed.content) == (sealed.rows, sealed.content)
    assert verify(lake).damaged == []
    runs = {row["verb"]: row for row in lake.arrow("runs", KEY).to_pylist()}
    assert runs["commit"]["kept"] == sealed.rows and runs["commit"]["rows_in"] == 300


def test_a_seal_that_stops_for_days_finds_that_another_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = opened(tmp_path)
    run, made = worked(lake, 200)
    receipts, stopped = run.receipts, [True]

    def stop() -> Any:
        found = receipts()
        if stopped:
            stopped.clear()
            done = seal(run, made)
            delete_leftovers(lake[0], leftovers(lake[0], ALL))
            assert done.rows
        return found

    monkeypatch.setattr(run, "receipts", stop)
    assert seal(run, made) == read_sealed(lake[0].storage, run.folder)


def test_a_merged_file_that_is_damaged_is_found_and_made_again(tmp_path: Path, small: None) -> None:
    from kale_tasks.contract import registry

    sets = lake_sets("folder", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        spec = registry.STEPS["ingest"]
        patch.setitem(
            registry.STEPS,
            "ingest",
            spec.__class__(**{**vars(spec), "reference": "tests.steps:Numbers", "suite": None}),
        )
        lake, settings = lake_of(sets)
        execute(Run(Numbers(), lake, settings, KEY))
        before, sizes = rows_of(lake), [file.rows for file in lake.files("pairs", KEY)]
        delete_leftovers(lake, leftovers(lake, ALL))
        path = Path(lake.storage.root, lake.files("pairs", KEY)[-1].path)
        path.write_bytes(path.read_bytes()[:-40])
        (damage,) = verify(lake).damaged
        assert str(path).endswith(damage.path)
        assert kale("repair", sets=sets).code == 0
        assert verify(Lake(settings)).damaged == []
        assert rows_of(Lake(settings)) == before
        assert [file.rows for file in Lake(settings).files("pairs", KEY)] == sizes


def test_a_reader_of_few_rows_decodes_few_row_groups(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = opened(tmp_path, "parts.part_rows=500")
    monkeypatch.setattr(merge, "LEAST_BYTES", 1 << 26)
    execute(Run(Numbers(2000), lake, settings, KEY))
    read, original = list[int](), snapshot.read_columns
    monkeypatch.setattr(snapshot, "read_columns", lambda *of: (read.append(of[3].number), original(*of))[1])
    pairs = Snapshot.open(lake, PAIRS)
    assert len(pairs.files) == 1
    uids = pairs.read(630, 650, ["uid"])["uid"].to_pylist()
    assert read == [9, 10]
    assert pairs.between(uids[0], uids[-1], ["uid"])["uid"].to_pylist() == uids
    assert read == [9, 10], "the same row groups, as they were read before"
    pairs.between(uids[0], uids[-1], ["text"])
    assert read == [9, 10, 9, 10]
