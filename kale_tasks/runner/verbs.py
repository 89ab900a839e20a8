"""The verbs of a run, the same for every step: plan, work, seal, check, commit. Each can run in its own process."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Chunk, Part, Plan
from kale_tasks.errors import BadData, Blocked, Conflict, KaleError, Paused
from kale_tasks.lake import verdicts
from kale_tasks.lake.holds import require_no_hold
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.leases import Lease, Renewals
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.progress import Progress
from kale_tasks.runner.commit import commit_rows, finish
from kale_tasks.runner.ledger import record_commit, write_line
from kale_tasks.runner.receipts import receipts, unfinished
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, is_sealed, seal
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings

_LOG = logging.getLogger(__name__)


def plan(run: Run) -> Plan:
    """Write `plan.json` with what there is to do, or use the one that is there; nothing if this run is committed.

    Raises BadData if a person holds the key at another run, and if this very run is blocked, because its checks failed
    and nobody accepted it.
    """
    with ThreadPoolExecutor() as at_once:
        former = at_once.submit(read_plan, run.lake, run.folder)
        if not run.committed and not run.lake.preview:
            require_no_hold(run.lake.storage, run.step.partition(run.key), run.step.name)
    blocked = verdicts.blocked_run(run.lake, run.step.partition(run.key)) if run.step.suite else None
    if blocked and blocked.fingerprint == run.fingerprint:
        raise Blocked(blocked.explain(), blocked.fingerprint)
    made = Plan(
        step=run.step.name,
        version=run.version,
        key=run.key,
        fingerprint=run.fingerprint,
        because=run.because,
        base=run.previous.origin if run.previous else None,
        settings=run.settings.row_relevant(),
        config=run.config,
        inputs=run.inputs,
        pins=run.pins,
        side_snapshot=run.side_snapshot,
        former=run.former_pin,
        committed=run.committed,
        chunks=[] if run.committed else list(run.step.chunks(run)),
    )
    if run.committed:
        return made
    known = former.result()
    if known and known.version == made.version and _has_pins(run, known, made.side_snapshot):
        # Settings that make the same rows can differ, such as where a list is: those of today can be followed.
        made = known.model_copy(update={"base": made.base, "settings": made.settings})
    # Written in any case: a young file keeps the run from being deleted as unused. Equal fingerprints make equal rows,
    # so parts that were made by an unusable plan count.
    run.lake.storage.put(_path(run.folder), made.model_dump_json(indent=1, exclude={"base"}).encode())
    return made


def read_plan(lake: Lake, folder: str) -> Plan | None:
    """Read the plan of a run; None if there is none that this version can read."""
    try:
        return Plan.model_validate_json(lake.storage.read(_path(folder)))
    except (FileNotFoundError, ValidationError):
        return None


def reopen(
    step: Step, lake: Lake, settings: Settings, made: tuple[str, str, str | None], progress: Progress | None = None
) -> tuple[Run, Plan]:
    """Open the run and plan (key, fingerprint, base) of another process; Conflict if it cannot be worked on here."""
    key, wanted, base = made
    known = read_plan(lake, run_folder(step.table, check_key(key), wanted))
    if known is None:
        raise Conflict(f"{step.name} {key} has no plan {wanted}. Plan again.")
    run = Run(step, lake, settings, key, progress=progress, plan=known)
    return run, known.model_copy(update={"base": base, "committed": run.committed})


def _has_pins(run: Run, known: Plan, side_snapshot: int | None) -> bool:
    """Whether everything that a plan names still exists; the current snapshot of the side table does."""
    pinned = [*known.pins.values(), *([known.former] if known.former else ())]
    files = [file for pin in pinned for file in pin.files]
    if known.side_snapshot != side_snapshot:
        if known.side_snapshot is None:  # there were no earlier keys
            return False
        try:
            side = run.lake.files_at(run.step.side_table, known.side_snapshot)
        except ValueError:  # it has expired
            return False
        files += [file for some in side.values() for file in some]
    paths = {file.path for file in files if "://" not in file.path}
    with ThreadPoolExecutor(16) as pool:
        return all(pool.map(run.lake.storage.exists, sorted(paths)))


def _path(folder: str) -> str:
    return f"{folder}/plan.json"


def work(run: Run, *chunks: Chunk) -> list[PartMeta]:
    """Make the missing parts of some chunks, which share a model. A finished part is never made again.

    If another attempt works on a chunk, this one waits; Transient if another takes over. Raises Paused after the last
    chunk if one of them has to wait.
    """
    made: list[PartMeta] = []
    paused: Paused | None = None
    try:
        for chunk in chunks:
            try:
                made += _work_alone(run, chunk)
            except Paused as error:  # the next chunk can still begin what takes long
                paused = error
    finally:
        run.step.close()
    if paused:
        raise paused
    return made


def _work_alone(run: Run, chunk: Chunk) -> list[PartMeta]:
    lease = Lease(run.lake.storage, run.folder, [chunk.index])
    if not _missing(run, chunk) or not lease.wait(lambda: not _missing(run, chunk), _LOG.info):
        return []
    with ThreadPoolExecutor() as at_once, Renewals(lease):  # the lease is given up while the ledger is written
        made = _work(run, chunk, lease)
        line = at_once.submit(write_line, run, "work", made, chunk.index) if made else None
    if line:
        line.result()
    return made


def _missing(run: Run, chunk: Chunk) -> list[int]:
    with ThreadPoolExecutor() as at_once:
        sealed = at_once.submit(is_sealed, run.lake.storage, run.folder)
        missing = unfinished(run.lake.storage, run.folder, chunk.numbers)
    return [] if sealed.result() else missing  # maintenance deletes the receipts of a sealed run


def _work(run: Run, chunk: Chunk, lease: Lease) -> list[PartMeta]:
    done = receipts(run.lake.storage, run.folder, chunk.numbers)
    missing = [n for n in chunk.numbers if n not in done]
    made: dict[int, PartMeta] = {}
    run.progress.begin(f"{run.step.name} {run.key} chunk {chunk.index}", chunk.stop - chunk.start)
    run.progress.advance(sum(receipt.meta.rows_in for receipt in done.values()), resumed=True)
    with ThreadPoolExecutor() as at_once:
        for part in _made(run, chunk, missing, lease) if missing else ():
            checked = at_once.submit(lease.check)
            meta = run.writer.write(part) if isinstance(part, Part) else part
            made[meta.number] = meta
            checked.result()
            run.progress.advance(
                meta.rows_in, kept=meta.kept, dropped=sum(meta.dropped.values()), quarantined=meta.quarantined
            )
    if lost := [n for n in missing if n not in made]:
        raise BadData(
            f"{run.step.name} {run.key} chunk {chunk.index} did not make parts {lost[:5]}: a defect of the step."
        )
    return list(made.values())


def _made(run: Run, chunk: Chunk, missing: Sequence[int], lease: Lease) -> Iterator[Part | PartMeta]:
    try:
        yield from run.step.work(run, chunk, missing)
    except KaleError:
        raise
    except Exception:
        lease.check()  # who took over may have finished and cleared away what this attempt was reading
        raise


def commit(run: Run, made: Plan) -> Committed:
    """Make the parts of a plan the rows of the key, then let the step act on that.

    A run of a step with checks must have passed them, or a person must have accepted it: otherwise BadData, or Conflict
    if it was not checked.
    """
    if made.committed and run.previous:
        committed = run.previous
        finish(run.lake, run.step, run.key)
    else:
        committed = _commit(run, made)
    run.step.after_commit(run, committed)
    return committed


def _commit(run: Run, made: Plan) -> Committed:
    sealed = seal(run, made)
    if run.step.suite:
        verdicts.require_verdict(run.lake.storage, sealed.step, sealed.key, sealed.seal_id)
    committed = commit_rows(run, made, sealed)
    with ThreadPoolExecutor() as at_once:  # the swap is done: what follows from it touches separate files and tables
        others = [
            at_once.submit(record_commit, run, sealed),
            at_once.submit(verdicts.unblock, run.lake.storage, run.step.partition(run.key)),
        ]
        finish(run.lake, run.step, run.key)
    for other in others:
        other.result()
    return committed


def execute(run: Run, check: Callable[[SealedRun], object] | None = None) -> Committed:
    """Run all verbs in this process. `check` judges the sealed run of a step with checks; it raises if that failed."""
    made = plan(run)
    work(run, *made.chunks)
    if run.step.suite and check and not made.committed:
        check(seal(run, made))
    return commit(run, made)
