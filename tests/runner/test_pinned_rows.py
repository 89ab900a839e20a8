"""A run reads the rows that its plan names, whatever is committed while it works, also when the input goes back."""

from pathlib import Path

import pytest

from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit, execute, plan, reopen, work
from kale_tasks.settings import Settings
from tests.lakes import lake_of, lake_sets
from tests.release.world import Fuse, Ingest, Tars

KEY = "a"
Opened = tuple[Lake, Settings]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    lake = lake_of([*lake_sets("folder", tmp_path), "caption.recipe=kale"])
    pairs(lake)
    execute(Run(Tars(), *lake, KEY))
    return lake


def pairs(opened: Opened, salt: str = "") -> None:
    execute(Run(Ingest(40, {KEY: salt}), *opened, KEY))


def authors(opened: Opened) -> set[str]:
    """Return who made the pictures by the captions: Ann, or New Ann by other pairs."""
    return {text.partition(" by ")[2] for text in opened[0].arrow("captions", KEY)["alt_text"].to_pylist()}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in one process", "by the plan's name"])
def test_an_input_that_is_replaced_and_goes_back_leaves_no_row_of_what_was_between(
    opened: Opened, elsewhere: bool
) -> None:
    run = Run(Fuse(), *opened, KEY)
    made = plan(run)
    pairs(opened, "New ")
    if elsewhere:
        run, made = reopen(Fuse(), *opened, (KEY, made.fingerprint, made.base))
    assert [meta.rows_in for chunk in made.chunks for meta in work(run, chunk)]
    pairs(opened)
    commit(run, made)
    assert authors(opened) == {"Ann"}
    assert plan(Run(Fuse(), *opened, KEY)).committed


def test_a_run_whose_input_was_replaced_is_committed_under_the_name_of_what_it_read(opened: Opened) -> None:
    run = Run(Fuse(), *opened, KEY)
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    pairs(opened, "New ")
    committed = commit(run, made)
    assert authors(opened) == {"Ann"} and committed.fingerprint == made.fingerprint
    assert not plan(Run(Fuse(), *opened, KEY)).committed, "it is stale"
    execute(Run(Fuse(), *opened, KEY))
    assert authors(opened) == {"New Ann"}
    with pytest.raises(Conflict):
        commit(run, made)
