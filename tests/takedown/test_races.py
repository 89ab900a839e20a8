"""Takedowns that die, and takedowns beside runs that commit: no removed row comes back, and no trace is left."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from kale_tasks.errors import Conflict
from kale_tasks.lake import commit
from kale_tasks.lake.commit import Swap
from kale_tasks.release.built import read
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit as commit_run
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.takedown import sweep
from kale_tasks.takedown.certificate import finish
from tests.release.conftest import World
from tests.release.world import image, pipeline, uid
from tests.takedown.requests import REMOVED, REQUEST, TABLES, Blind, files_with, take, uids


def test_an_interrupted_takedown_is_finished_by_repeating_it(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, swaps = commit.swap, list[str]()

    def swap_and_die(lake: Any, request: Swap) -> bool:
        if len(swaps) == 2:
            raise OSError("the machine dies")
        swaps.append(request.table)
        return real(lake, request)

    for module in ("kale_tasks.takedown.sweep", "kale_tasks.runner.commit"):
        monkeypatch.setattr(f"{module}.swap", swap_and_die)
    with pytest.raises(OSError, match="dies"):
        take(one, **REQUEST)
    monkeypatch.undo()
    take(one, **REQUEST)
    assert not {name for t in TABLES for name in uids(one, t, "a")} & set(REMOVED)
    assert all(plan(Run(step, one.lake, one.settings, "a")).committed for step in pipeline(120))


@pytest.mark.parametrize(
    "swaps", [pytest.param(1, marks=pytest.mark.nightly), 2, pytest.param(3, marks=pytest.mark.nightly)]
)
def test_a_takedown_that_dies_after_a_swap_still_ends_without_a_trace(
    it: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: int
) -> None:
    real, done = commit.swap, list[str]()

    def swap_and_die(lake: Any, request: Swap) -> Any:
        committed = real(lake, request)
        done.append(request.table)
        if len(done) == swaps:
            raise OSError("the machine dies")
        return committed

    for module in ("kale_tasks.takedown.sweep", "kale_tasks.runner.commit"):
        monkeypatch.setattr(f"{module}.swap", swap_and_die)
    with pytest.raises(OSError, match="dies"):
        take(it, **REQUEST)
    monkeypatch.undo()
    record = take(it, **REQUEST)
    it.release("c")
    it.publish("c")
    certificate = finish(it.lake, it.settings, record, now=True)
    assert files_with(tmp_path, [name.encode() for name in REMOVED] + [image(name) for name in REMOVED]) == []
    assert certificate["rows"]["a"] == {"captions": 6, "dedup_index": 6, "images": 6, "pairs": 6}


def test_a_commit_removes_rows_that_were_taken_down_since_its_plan(one: World) -> None:
    take(one, uid=[uid("d", 5)])
    committed = execute(Run(Blind(120), one.lake, one.settings, "d"))
    assert uids(one, "pairs", "d") == sorted({uid("d", n) for n in range(120)} - {uid("d", 5)})
    assert uid("d", 5) not in uids(one, "dedup_index", "d")
    assert committed.rows_in == committed.rows + sum(committed.dropped.values()) + committed.quarantined
    assert committed.content != committed.identity


def test_a_row_whose_url_was_taken_down_stays_out_of_tables_without_urls(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = pipeline(120)[-1]
    run = Run(step, one.lake, one.settings, "a", again="request")
    made = plan(run)
    take(one, url=[f"https://host{uid('a', 9)[0]}.example/{uid('a', 9)}.jpg"])
    for chunk in made.chunks:
        work(run, chunk)
    commit_run(run, made.model_copy(update={"base": one.lake.committed(step.table, "a", step.slice).origin}))
    assert uid("a", 9) not in uids(one, step.table, "a")


def test_a_takedown_between_reading_the_lists_and_the_swap_refuses_the_swap(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = commit.swap, list[str]()

    def take_first(lake: Any, request: Swap) -> Any:
        if request.table == "pairs" and not taken:
            taken.append("d")
            take(one, uid=[uid("d", 5)])
        return real(lake, request)

    monkeypatch.setattr("kale_tasks.runner.commit.swap", take_first)
    execute(Run(Blind(120), one.lake, one.settings, "d"))
    assert taken and uid("d", 5) not in uids(one, "pairs", "d")


def test_a_takedown_that_comes_when_a_commit_has_written_all_but_its_last_step_refuses_it(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = SqlCatalog.commit_table, list[str]()

    def take_first(self: Any, table: Any, *changes: Any) -> Any:
        if table.name()[-1] == "pairs" and not taken:
            taken.append("d")
            take(one, uid=[uid("d", 5)])
        return real(self, table, *changes)

    monkeypatch.setattr(SqlCatalog, "commit_table", take_first)
    execute(Run(Blind(120), one.lake, one.settings, "d"))
    assert taken and len(uids(one, "pairs", "d")) == 119
    assert uid("d", 5) not in uids(one, "pairs", "d")


@pytest.mark.parametrize("late", [False, True], ids=["committed while it sweeps", "committed after it"])
def test_a_release_that_is_planned_while_a_takedown_sweeps_is_not_published(
    it: World, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Captions have no URL: what such a release has of the row is known by its uid alone, once the sweep finds it."""
    real, planned = sweep.matching_uids, list[Any]()

    def release_first(*of: Any) -> Any:
        if not planned:
            run = Run(Release(), it.lake, it.settings, "c", again="request")
            planned.extend([run, plan(run)])
            for chunk in planned[1].chunks:
                work(run, chunk)
            if not late:
                commit_run(*planned)
        return real(*of)

    monkeypatch.setattr(sweep, "matching_uids", release_first)
    name = uid("b", 9)
    take(it, url=[f"https://host{name[0]}.example/{name}.jpg"])
    with pytest.raises(Conflict, match="Rows were taken down since"):
        commit_run(*planned) if late else it.publish("c")
    it.release("c")
    it.publish("c")
    built = read(it.lake, "c")
    assert name not in {
        found
        for file in built.of("full")
        for found in pq.read_table(Path(it.lake.storage.root, file.path), columns=["uid"])["uid"].to_pylist()
    }
