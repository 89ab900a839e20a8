"""The verbs of a run, the same for every step: plan, work, seal and commit, each in a process of its own if wanted."""

import json
from dataclasses import replace

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Chunk, Part, Plan
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.progress import Progress
from kale_tasks.runner.ledger import fold_ledger, write_line
from kale_tasks.runner.receipts import receipts
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, seal
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings


def plan(run: Run) -> Plan:
    """Write `plan.json` with what there is to do; nothing if this very run is committed."""
    known = {"step": run.step.name, "key": run.key, "fingerprint": run.fingerprint, "generation": run.generation}
    base = run.previous.fingerprint if run.previous else None
    if run.committed:
        return Plan(**known, base=base, inputs=run.inputs, committed=True)
    made = Plan(**known, base=base, inputs=run.inputs, chunks=list(run.step.chunks(run)))
    run.lake.storage.put(f"{run.folder}/plan.json", made.model_dump_json(indent=1, exclude={"base"}).encode())
    return made


def reopen(
    step: Step, lake: Lake, settings: Settings, made: tuple[str, str, str | None], progress: Progress | None = None
) -> tuple[Run, Plan]:
    """Open the run and plan (key, fingerprint, base) of another process; Conflict if it has become outdated."""
    key, wanted, base = made
    try:
        text = lake.storage.read(f"{run_folder(step.table, check_key(key), wanted)}/plan.json")
    except FileNotFoundError as error:
        raise Conflict(f"{step.name} {key} has no plan {wanted}. Plan again.") from error
    known = Plan.model_validate_json(text)
    run = Run(step, lake, settings, key, generation=known.generation, progress=progress)
    if run.fingerprint != wanted:
        raise Conflict(f"{step.name} {key} was planned as {wanted}, but settings or inputs have changed. Plan again.")
    return run, known.model_copy(update={"base": base, "committed": run.committed})


def work(run: Run, chunk: Chunk) -> list[PartMeta]:
    """Make the missing parts of a chunk. A finished part is never made again."""
    done = receipts(run.lake.storage, run.folder, chunk.numbers)
    missing = [n for n in chunk.numbers if n not in done]
    made: dict[int, PartMeta] = {}
    run.progress.begin(f"{run.step.name} {run.key} chunk {chunk.index}", chunk.stop - chunk.start)
    run.progress.advance(sum(receipt.meta.rows_in for receipt in done.values()), resumed=True)
    if missing:
        for part in run.step.work(run, chunk, missing):
            meta = run.writer.write(part) if isinstance(part, Part) else part
            made[meta.number] = meta
            run.progress.advance(
                meta.rows_in, kept=meta.kept, dropped=sum(meta.dropped.values()), quarantined=meta.quarantined
            )
    if lost := [n for n in missing if n not in made]:
        raise BadData(
            f"{run.step.name} {run.key} chunk {chunk.index} did not make parts {lost[:5]}: a defect of the step."
        )
    if made:
        write_line(run, "work", list(made.values()), chunk=chunk.index)
    return list(made.values())


def commit(run: Run, made: Plan) -> Committed:
    """Make the parts of a plan the rows of the key, then let the step act on that."""
    committed = run.previous if made.committed and run.previous else _commit(run, made)
    run.step.after_commit(run, committed)
    return committed


def execute(run: Run) -> Committed:
    """Run all verbs in this process."""
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    return commit(run, made)


def _commit(run: Run, made: Plan) -> Committed:
    """Seal the run and swap the key's files. The main table is swapped last: it decides which run counts."""
    step = run.step
    sealed = seal(run, made)
    _check_base(run, made)
    new = _committed(sealed)
    for name in (*step.also, "quarantine"):
        _swap_side(run, name, sealed, new)
    paths = sealed.paths(step.table)
    swap(run.lake, Swap(step.table, run.key, step.slice, step.name, paths, made.base, new, keep=step.keep))
    write_line(run, "commit", [receipt.meta for receipt in run.receipts().values()])
    fold_ledger(run)
    return run.lake.committed(step.table, run.key, step.slice) or new


def _committed(sealed: SealedRun) -> Committed:
    return Committed(
        fingerprint=sealed.fingerprint,
        content=sealed.content,
        rows=sealed.rows,
        parts=sealed.parts,
        snapshot_id=0,
        at="",
        rows_in=sealed.rows_in,
        dropped=sealed.dropped,
        quarantined=sealed.quarantined,
        inputs=sealed.inputs,
        generation=sealed.generation,
        config=json.dumps(sealed.config, sort_keys=True),
    )


def _check_base(run: Run, made: Plan) -> None:
    # The swap of the main table checks this again, atomically; here it keeps a late run off the side tables.
    now = run.lake.committed(run.step.table, run.key, run.step.slice)
    if (now.fingerprint if now else None) not in (made.base, run.fingerprint):
        raise Conflict(f"{run.step.name} {run.key} was committed by another run since this one planned. Run it again.")


def _swap_side(run: Run, name: str, sealed: SealedRun, new: Committed) -> None:
    slice_ = {"step": run.step.name} if name == "quarantine" else {}
    current = run.lake.committed(name, run.key, slice_)
    paths = sealed.paths(name)
    if not paths and current is None:
        return  # no empty commit
    base = current.fingerprint if current else None
    rows = sealed.rows_of(name)
    swap(run.lake, Swap(name, run.key, slice_, run.step.name, paths, base, replace(new, rows=rows)))
