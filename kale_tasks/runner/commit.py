"""Committing: one swap of the main table decides which run counts; the side tables follow it."""

from dataclasses import replace

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Plan
from kale_tasks.errors import Conflict
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.ledger import fold_ledger, write_line
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, read_sealed
from kale_tasks.runner.writer import run_folder

_TRIES = 5


def commit_rows(run: Run, made: Plan, sealed: SealedRun) -> Committed:
    """Swap the rows of the main table for those of a sealed run; Conflict if another was committed since the plan."""
    step, new = run.step, sealed.record()
    paths = sealed.paths(step.table)
    swap(run.lake, Swap(step.table, run.key, step.slice, step.name, paths, made.base, new, keep=step.keep))
    write_line(run, "commit", [receipt.meta for receipt in run.receipts().values()])
    fold_ledger(run)
    return run.lake.committed(step.table, run.key, step.slice) or new


def finish_sides(lake: Lake, step: Step, key: str) -> None:
    """Give the side tables the rows of the run that the main table names.

    Anyone may call this, at any time: whoever died between the main table and a side table is finished by the next.
    """
    for name in (*step.also, "quarantine"):
        _finish_side(lake, step, key, name)


def _finish_side(lake: Lake, step: Step, key: str, name: str) -> None:
    for attempt in range(_TRIES):
        try:
            _swap_side(lake, step, key, name)
            return
        except Conflict:  # somebody else is finishing it too, for this run or for a newer one
            if attempt == _TRIES - 1:
                raise


def _swap_side(lake: Lake, step: Step, key: str, name: str) -> None:
    slice_ = {"step": step.name} if name == "quarantine" else {}
    # The side table first: if it changes after this, the swap below is refused.
    current = lake.committed(name, key, slice_)
    main = lake.committed(step.table, key, step.slice)
    if main is None or (current and current.fingerprint == main.fingerprint):
        return
    sealed = read_sealed(lake.storage, run_folder(step.table, key, main.fingerprint))
    if sealed is None or not (current or sealed.paths(name)):
        return
    new = replace(sealed.record(), rows=sealed.rows_of(name))
    base = current.fingerprint if current else None
    swap(lake, Swap(name, key, slice_, step.name, sealed.paths(name), base, new))
