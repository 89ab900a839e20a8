"""Committing: one swap of the main table decides which run counts; the side tables follow it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Plan
from kale_tasks.errors import Conflict
from kale_tasks.lake.commit import Swap, read_base, retry_moved, swap
from kale_tasks.lake.index import INDEXES
from kale_tasks.lake.marks import delete_mark, marks
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.tombstones import Matcher, matcher
from kale_tasks.runner.order import mark_keys, unfinished_keys
from kale_tasks.runner.removal import Removed, matching_uids, remove_rows
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, read_committed, write_revision
from kale_tasks.runner.writer import is_withdrawn


def commit_rows(run: Run, made: Plan, sealed: SealedRun) -> Committed:
    """Swap the rows of the main table; Conflict if another run was committed since the plan."""
    return retry_moved(lambda: _commit_once(run, made, sealed))


def _commit_once(run: Run, made: Plan, sealed: SealedRun) -> Committed:
    # The base first: whoever takes rows or files away changes its epoch after having announced it, so that this commit
    # either sees the announcement below or is refused by the swap.
    step, base = run.step, read_base(run.lake, run.partition)
    previous, epoch = base
    if previous and previous.fingerprint == run.fingerprint:
        return previous
    if (previous.origin if previous else None) != made.base:
        raise Conflict(
            f"Another run committed {run.partition} since this one planned. Its work is kept; run the step again to "
            f"build on the current rows."
        )
    with ThreadPoolExecutor() as at_once:
        removal, withdrawn = at_once.submit(matcher, run.lake), is_withdrawn(run.lake.storage, run.folder)
    if withdrawn:
        raise Conflict(f"The files of {run.partition} {run.fingerprint} were deleted as unused. Run the step again.")
    current, revision = _without_removed_rows(run, sealed, removal.result())
    new = replace(current.record(), revision=revision)
    paths = current.paths(step.table)
    return swap(
        run.lake,
        Swap(step.table, run.key, step.slice, step.name, paths, previous, new, keep=step.keep, epoch=epoch),
    )


def _without_removed_rows(run: Run, sealed: SealedRun, removal: Matcher) -> tuple[SealedRun, str]:
    """Return the sealed run without rows that were taken down since it was made, and the name of that revision."""
    if run.inputs.get("takedowns", removal.content) != removal.content:
        raise Conflict(f"Rows were taken down since {run.partition} was planned. Run {run.step.name} again.")
    if not removal.content or run.step.keep:
        return sealed, ""
    uids = matching_uids(run.lake, run.key, removal, sealed)
    revised = remove_rows(run.lake, run.step, sealed, uids, Removed()) if len(uids) else sealed
    if revised == sealed:
        return sealed, ""
    return revised, write_revision(run.lake.storage, run.folder, revised)


def finish(lake: Lake, step: Step, key: str) -> None:
    """Do what follows from the run that the main table names: side tables, and marks that it has answered.

    Anyone may call this, at any time: whoever died after the swap of the main table is finished by the next.
    """
    for name in (*step.also, "quarantine"):  # somebody else may be finishing it too, for this run or for a newer one
        retry_moved(partial(_swap_side, lake, step, key, name))
    committed = lake.committed(step.table, key, step.slice)
    partition = step.partition(key)
    for mark in marks(lake.storage, partition):
        if committed and mark.name in committed.because:
            delete_mark(lake.storage, partition, mark.name)


def finish_all(lake: Lake, step: Step) -> None:
    """Finish every key of a step whose commit was interrupted, so that no mark is missing."""
    for key in unfinished_keys(lake, step):
        finish(lake, step, key)


def _swap_side(lake: Lake, step: Step, key: str, name: str) -> None:
    side = Partition.of(name, key, step.side_slice(name))
    # The side table first: if it changes after this, the swap below is refused.
    current, _ = read_base(lake, side)
    main = lake.committed(step.table, key, step.slice)
    if main is None or (current and current.version == main.version):
        return
    sealed = read_committed(lake.storage, step.table, key, main)
    if sealed is None or not (current or sealed.paths(name)):
        return
    if name in INDEXES:
        mark_keys(lake, step, key, main, sealed)
    new = replace(sealed.record(), rows=sealed.rows_of(name), revision=main.revision)
    swap(lake, Swap(name, key, side.columns, step.name, sealed.paths(name), current, new))
