"""What a commit promises: all of a key's rows or none, once, and never over a newer one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import parquet_file_to_data_file

from kale_tasks.contract.types import Part
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.commit import commit_rows, finish
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import seal
from kale_tasks.runner.verbs import commit, execute, plan, reopen, work
from kale_tasks.settings import Settings
from tests.lakes import lake_of
from tests.steps import Numbers

KEY = "2026-11-01"
Opened = tuple[Lake, Settings]


def texts(lake: Lake, key: str | None = None) -> list[str]:
    return sorted(lake.arrow("pairs", key)["alt_text"].to_pylist())


@pytest.mark.any_store
def test_every_row_is_kept_dropped_by_a_rule_or_quarantined(lake: Opened) -> None:
    committed = execute(Run(Numbers(250), *lake, KEY))
    assert committed.rows_in == 250
    assert committed.rows + sum(committed.dropped.values()) + committed.quarantined == 250
    assert lake[0].arrow("pairs", KEY).num_rows == committed.rows
    assert lake[0].arrow("quarantine", KEY, slice_={"step": "ingest"}).num_rows == committed.quarantined


@pytest.mark.any_store
def test_a_committed_run_writes_nothing_again(lake: Opened) -> None:
    first = execute(Run(Numbers(50), *lake, KEY))
    before = {e.path: e.modified for e in lake[0].storage.entries("")}
    assert execute(Run(Numbers(50), *lake, KEY)) == first
    assert {e.path: e.modified for e in lake[0].storage.entries("") if "catalog.db" not in e.path} == {
        p: m for p, m in before.items() if "catalog.db" not in p
    }


@pytest.mark.any_store
def test_a_new_run_replaces_the_rows_of_its_key_and_no_other(lake: Opened) -> None:
    execute(Run(Numbers(50), *lake, KEY))
    execute(Run(Numbers(50, salt="other "), *lake, "2026-11-02"))
    execute(Run(Numbers(30, salt="new "), *lake, KEY))
    assert all(text.startswith("new ") for text in texts(lake[0], KEY))
    assert all(text.startswith("other ") for text in texts(lake[0], "2026-11-02"))


@pytest.mark.any_store
def test_the_snapshot_bears_step_key_fingerprint_and_counts(lake: Opened) -> None:
    committed = execute(Run(Numbers(50), *lake, KEY))
    summary = lake[0].table("pairs").current_snapshot().summary.additional_properties  # type: ignore[union-attr]
    assert (summary["kale.step"], summary["kale.key"]) == ("ingest", KEY)
    assert summary["kale.fingerprint"] == committed.fingerprint
    assert f'"in": {committed.rows_in}' in summary["kale.counts"]


@pytest.mark.any_store
def test_files_are_described_to_the_table_as_its_library_would(lake: Opened) -> None:
    execute(Run(Numbers(50), *lake, KEY))
    for name in ("pairs", "dedup_index", "quarantine"):
        table = lake[0].table(name)
        described = [task.file for task in table.scan().plan_files()]
        for file in described:
            theirs = parquet_file_to_data_file(table.io, table.metadata, file.file_path)
            sums = ("column_sizes", "value_counts", "null_value_counts", "lower_bounds", "upper_bounds")
            for what in ("file_path", "file_size_in_bytes", "record_count", "partition", "file_format", *sums):
                assert getattr(file, what) == getattr(theirs, what), what
        assert described


@pytest.mark.any_store
def test_a_key_may_be_empty_and_stays_committed(lake: Opened) -> None:
    first = execute(Run(Numbers(0), *lake, KEY))
    assert (first.rows, lake[0].arrow("pairs", KEY).num_rows) == (0, 0)
    assert plan(Run(Numbers(0), *lake, KEY)).committed


@pytest.mark.any_store
def test_a_late_run_cannot_replace_a_newer_commit(lake: Opened) -> None:
    zombie = Run(Numbers(50, salt="zombie "), *lake, KEY)
    made = plan(zombie)
    for chunk in made.chunks:
        work(zombie, chunk)
    execute(Run(Numbers(50, salt="newer "), *lake, KEY))
    quarantined = lake[0].arrow("quarantine").to_pylist()
    with pytest.raises(Conflict):
        commit(zombie, made)
    assert all(text.startswith("newer ") for text in texts(lake[0]))
    assert lake[0].arrow("quarantine").to_pylist() == quarantined


def test_of_16_racers_on_one_key_one_wins_with_one_set_of_rows(lake: Opened, sets: list[str]) -> None:
    start = Barrier(16)

    def race(i: int) -> str:
        run = Run(Numbers(20, salt=f"{i} "), *lake_of(sets), KEY)
        made = plan(run)
        for chunk in made.chunks:
            work(run, chunk)
        start.wait()
        try:
            return commit(run, made).fingerprint
        except Conflict:
            return ""

    lake[0].table("pairs")
    with ThreadPoolExecutor(16) as pool:
        winners = [name for name in pool.map(race, range(16)) if name]
    rows = texts(lake[0])
    assert len(winners) == len({text.split()[0] for text in rows}) == 1
    assert len(rows) == len(set(rows)) == 16
    assert lake[0].committed("pairs", KEY).fingerprint == winners[0]  # type: ignore[union-attr]


@pytest.mark.any_store
def test_a_damaged_or_deleted_part_file_is_found_and_made_again(lake: Opened) -> None:
    run = Run(Numbers(50), *lake, KEY)
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    storage, found = lake[0].storage, run.receipts()
    torn, deleted = found[1].files["pairs"].path, found[2].files["dedup_index"].path
    storage.put(torn, storage.read(torn)[:100])
    storage.delete(deleted)
    with pytest.raises(Conflict, match="2 of 5 parts are missing or damaged, such as 1, 2"):
        commit(run, made)
    assert {meta.number for meta in work(run, made.chunks[0])} == {1, 2}
    assert commit(run, made).rows == len(texts(lake[0]))


@pytest.mark.any_store
def test_an_attempt_that_finishes_late_changes_nothing_that_is_committed(lake: Opened) -> None:
    late = Run(Numbers(50), *lake, KEY)
    chunk = plan(late).chunks[0]
    execute(Run(Numbers(50), *lake, KEY))
    before = lake[0].arrow("pairs", KEY)
    files = {e.path: e.modified for e in lake[0].storage.entries("pairs") if e.path.endswith(".parquet")}
    for number in chunk.numbers:  # sampled text: the same part with other rows
        other = replace(next(iter(Numbers(50, salt="late ").work(late, chunk, [number]))))
        assert late.writer.write(other).content == late.receipts()[number].meta.content
    assert lake[0].arrow("pairs", KEY) == before
    assert files.items() <= {e.path: e.modified for e in lake[0].storage.entries("pairs")}.items()


def test_two_attempts_at_once_commit_the_rows_of_the_one_that_was_first_in_each_part(lake: Opened) -> None:
    one, other = Run(Numbers(50), *lake, KEY), Run(Numbers(50), *lake, KEY)
    made = plan(one)
    start = Barrier(2)

    def attempt(run: Run, salt: str) -> None:
        start.wait()
        for part in Numbers(50, salt).work(run, made.chunks[0], list(made.chunks[0].numbers)):
            run.writer.write(part)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, (one, other), ("one ", "other ")))
    committed = commit(one, made)
    found = one.receipts()
    for number, receipt in found.items():
        rows = pq.read_table(receipt.files["pairs"].path, filesystem=lake[0].storage.arrow)
        assert len({text.split()[0] for text in rows["alt_text"].to_pylist()}) == 1, number
    assert committed.rows == len(texts(lake[0])) == sum(receipt.meta.kept for receipt in found.values())


def test_a_run_that_dies_before_its_side_tables_is_finished_by_the_next_try(lake: Opened) -> None:
    run = Run(Numbers(50), *lake, KEY)
    made = plan(run)
    work(run, made.chunks[0])
    commit_rows(run, made, seal(run, made))  # and then it dies
    assert lake[0].arrow("dedup_index").num_rows == 0
    committed = execute(Run(Numbers(50), *lake, KEY))
    assert committed.fingerprint == run.fingerprint
    assert lake[0].arrow("dedup_index").num_rows == committed.rows
    assert lake[0].arrow("quarantine").num_rows == committed.quarantined


@pytest.mark.any_store
def test_the_side_tables_follow_the_run_of_the_main_table(lake: Opened) -> None:
    first = execute(Run(Numbers(50), *lake, KEY))
    killed = Run(Numbers(30), *lake, KEY)
    made = plan(killed)
    work(killed, made.chunks[0])
    commit_rows(killed, made, seal(killed, made))
    assert execute(Run(Numbers(50), *lake, KEY)).content == first.content  # the settings go back
    late = Numbers(30)
    finish(lake[0], late, KEY)  # and whoever finishes the killed run comes late
    assert lake[0].arrow("dedup_index").num_rows == first.rows
    uids = set(lake[0].arrow("pairs")["uid"].to_pylist())
    assert set(lake[0].arrow("dedup_index")["uid"].to_pylist()) == uids


@pytest.mark.any_store
def test_the_loser_of_two_runs_leaves_the_side_tables_of_the_winner(lake: Opened) -> None:
    winner, loser = Run(Numbers(50), *lake, KEY), Run(Numbers(30), *lake, KEY)
    plans = {run: plan(run) for run in (winner, loser)}
    for run, made in plans.items():
        work(run, made.chunks[0])
    commit_rows(winner, plans[winner], seal(winner, plans[winner]))
    with pytest.raises(Conflict):
        commit(loser, plans[loser])
    finish(lake[0], winner.step, KEY)
    assert set(lake[0].arrow("dedup_index")["uid"].to_pylist()) == set(lake[0].arrow("pairs")["uid"].to_pylist())


@pytest.mark.any_store
def test_a_part_that_loses_a_row_is_refused(lake: Opened) -> None:
    run = Run(Numbers(50), *lake, KEY)
    rows = lake[0].arrow("pairs").slice(0, 0)
    with pytest.raises(BadData, match="lost rows"):
        run.writer.write(Part(number=0, rows=rows, rows_in=1))


@pytest.mark.any_store
def test_a_part_with_a_row_of_another_key_is_refused(lake: Opened) -> None:
    execute(Run(Numbers(20), *lake, "2026-12-24"))
    rows = lake[0].arrow("pairs", "2026-12-24").slice(0, 1)
    with pytest.raises(BadData, match="rows of another key"):
        Run(Numbers(50), *lake, KEY).writer.write(Part(number=0, rows=rows, rows_in=1))


@pytest.mark.any_store
def test_a_request_to_run_again_makes_a_new_run_of_the_same_rows(lake: Opened) -> None:
    first = execute(Run(Numbers(20), *lake, KEY))
    again = execute(Run(Numbers(20), *lake, KEY, again="again"))
    assert (again.because, again.content) == (("again",), first.content)
    assert again.fingerprint != first.fingerprint
    assert plan(Run(Numbers(20), *lake, KEY)).committed


@pytest.mark.any_store
def test_a_named_request_to_run_again_is_answered_once(lake: Opened) -> None:
    execute(Run(Numbers(20), *lake, KEY))
    asked = Run(Numbers(20), *lake, KEY, again="scheduled__1")
    again = execute(asked)
    retried = execute(Run(Numbers(20), *lake, KEY, again="scheduled__1"))  # its answer was lost
    assert (again.fingerprint, again.because) == (retried.fingerprint, ("scheduled__1",))
    assert execute(Run(Numbers(20), *lake, KEY, again="scheduled__2")).because == ("scheduled__1", "scheduled__2")


@pytest.mark.any_store
def test_another_process_reopens_a_plan_by_its_name(lake: Opened) -> None:
    made = plan(Run(Numbers(50), *lake, KEY))
    run, known = reopen(Numbers(50), *lake, (KEY, made.fingerprint, made.base))
    assert known.chunks == made.chunks
    for chunk in known.chunks:
        work(run, chunk)
    assert commit(run, known).rows_in == 50
    with pytest.raises(Conflict, match="Plan again"):
        reopen(Numbers(51), *lake, (KEY, made.fingerprint, None))
