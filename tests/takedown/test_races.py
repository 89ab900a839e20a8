"""Takedowns that die, and takedowns beside runs that commit: no removed row comes back, and no trace is left."""

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from kale_tasks.lake import commit
from kale_tasks.lake.commit import Swap
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit as commit_run
from kale_tasks.runner.verbs import execute, plan, work
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


@pytest.mark.parametrize("swaps", [1, 2, 3])
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
