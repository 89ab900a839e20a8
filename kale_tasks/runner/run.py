"""Runs a step on a key: the three verbs, the same for every step."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from kale_tasks.contract.step import Step, contents, fingerprint
from kale_tasks.contract.types import Chunk, Part, Plan
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake import parts
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.partition import check_key
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.progress import Progress, Silent
from kale_tasks.runner.ledger import Meter, fold_ledger, write_line
from kale_tasks.runner.writer import Writer, run_folder
from kale_tasks.settings.model import Settings


class Run:
    """One run of a step on a key: everything that its three verbs share."""

    def __init__(
        self,
        step: Step,
        lake: Lake,
        settings: Settings,
        key: str,
        *,
        again: bool = False,
        generation: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.step, self.lake, self.settings, self.key = step, lake, settings, check_key(key)
        self.progress = progress or Silent()
        self._opened = dict(step.inputs(lake, settings, self.key))
        self.inputs = contents(self._opened)
        self.config = dict(step.config(settings))
        self.standing = lake.committed(step.table, self.key, step.slice)
        standing_generation = self.standing.generation if self.standing else 0
        self.generation = standing_generation + (1 if again else 0) if generation is None else generation
        self.fingerprint = fingerprint(step, self.config, self.inputs, self.generation)
        self.meter = Meter()

    @cached_property
    def writer(self) -> Writer:
        """Writes this run's parts."""
        return Writer(self.lake.storage, self.step.name, self.step.table, self.key, self.fingerprint)

    @property
    def folder(self) -> str:
        """Where this run's files stand, relative to the warehouse: parts, and side files such as shards."""
        return run_folder(self.step.table, self.key, self.fingerprint)

    def rows(self, name: str) -> Snapshot:
        """Return the input of that name as it was opened when this run was built."""
        found = self._opened[name]
        if isinstance(found, str):
            raise TypeError(f"The input '{name}' of {self.step.name} is not a partition.")
        return found

    def measure(self, name: str, value: float) -> None:
        """Add to a figure of the ledger line (seconds generating, bytes fetched); not part of the data."""
        self.meter.add(name, value)


def plan(run: Run) -> Plan:
    """What is left to do: nothing when this very run is committed, else its chunks."""
    known = {"step": run.step.name, "key": run.key, "fingerprint": run.fingerprint, "generation": run.generation}
    base = run.standing.fingerprint if run.standing else None
    if base == run.fingerprint:
        return Plan(**known, base=base, inputs=run.inputs, committed=True)
    made = Plan(**known, base=base, inputs=run.inputs, chunks=list(run.step.chunks(run)))
    run.lake.storage.put(f"{run.folder}/plan.json", made.model_dump_json(indent=1, exclude={"base"}).encode())
    return made


def reopen(
    step: Step, lake: Lake, settings: Settings, made: tuple[str, str, str | None], progress: Progress | None = None
) -> tuple[Run, Plan]:
    """The run and plan (key, fingerprint, base) that another process made; Conflict when the world has moved on."""
    key, wanted, base = made
    try:
        text = lake.storage.read(f"{run_folder(step.table, check_key(key), wanted)}/plan.json")
    except FileNotFoundError as error:
        raise Conflict(f"{step.name} {key} has no plan {wanted}. Plan again.") from error
    known = Plan.model_validate_json(text)
    run = Run(step, lake, settings, key, generation=known.generation, progress=progress)
    if run.fingerprint != wanted:
        raise Conflict(f"{step.name} {key} was planned as {wanted}; settings and inputs are others now. Plan again.")
    committed = run.standing is not None and run.standing.fingerprint == wanted
    return run, known.model_copy(update={"base": base, "committed": committed})


def work(run: Run, chunk: Chunk) -> list[PartMeta]:
    """Make the missing parts of a chunk; what stands is never made again."""
    done = parts.standing(run.lake.storage, run.folder, run.fingerprint)
    missing = [n for n in chunk.numbers if n not in done]
    made: dict[int, PartMeta] = {}
    run.progress.begin(f"{run.step.name} {run.key} chunk {chunk.index}", chunk.stop - chunk.start)
    run.progress.advance(sum(done[n].rows_in for n in chunk.numbers if n in done), resumed=True)
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
    committed = run.standing if made.committed and run.standing else _commit(run, made)
    run.step.after_commit(run, committed)
    return committed


def _commit(run: Run, made: Plan) -> Committed:
    """Check that every row is accounted for and swap the key's files; the main table last, it decides."""
    storage, step = run.lake.storage, run.step
    metas = parts.standing(storage, run.folder, run.fingerprint)
    wanted = [n for chunk in made.chunks for n in chunk.numbers]
    if lacking := [n for n in wanted if n not in metas]:
        raise Conflict(
            f"{step.name} {run.key}: {len(lacking)} parts are missing or torn, such as {lacking[0]}. Work again."
        )
    _check_still_ours(run, made)
    for part in step.before_commit(run, {n: metas[n] for n in wanted}):
        metas[part.number] = run.writer.write(part)
    new = _account(run, [metas[n] for n in wanted])
    for name in (*step.also, "quarantine"):
        _swap_side(run, name, [metas[n] for n in wanted], new)
    paths = [parts.part_path(run.folder, n) for n in wanted if metas[n].kept]
    swap(run.lake, Swap(step.table, run.key, step.slice, step.name, paths, made.base, new, keep=step.keep))
    write_line(run, "commit", [metas[n] for n in wanted])
    fold_ledger(run)
    return run.lake.committed(step.table, run.key, step.slice) or new


def execute(run: Run) -> Committed:
    """All three verbs in this process."""
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    return commit(run, made)


def _account(run: Run, metas: Sequence[PartMeta]) -> Committed:
    dropped: dict[str, int] = {}
    for meta in metas:
        for rule, n in meta.dropped.items():
            dropped[rule] = dropped.get(rule, 0) + n
    content = hashlib.sha256("".join(meta.content for meta in metas).encode()).hexdigest()[:20]
    return Committed(
        fingerprint=run.fingerprint,
        content=content,
        rows=sum(meta.kept for meta in metas),
        parts=len(metas),
        snapshot_id=0,
        at="",
        rows_in=sum(meta.rows_in for meta in metas),
        dropped=dropped,
        quarantined=sum(meta.quarantined for meta in metas),
        inputs=run.inputs,
        generation=run.generation,
        config=json.dumps(run.config, sort_keys=True),
    )


def _check_still_ours(run: Run, made: Plan) -> None:
    # The swap of the main table checks this again, atomically; here it keeps a late run off the side tables.
    now = run.lake.committed(run.step.table, run.key, run.step.slice)
    if (now.fingerprint if now else None) not in (made.base, run.fingerprint):
        raise Conflict(f"{run.step.name} {run.key} was committed by another run since this one planned. Run it again.")


def _swap_side(run: Run, name: str, metas: Sequence[PartMeta], new: Committed) -> None:
    slice_ = {"step": run.step.name} if name == "quarantine" else {}
    standing = run.lake.committed(name, run.key, slice_)
    rows = sum(meta.also.get(name, 0) for meta in metas)
    if not rows and standing is None:
        return  # nothing stands and nothing comes: no empty commit
    folder = run.writer.folder(name)
    paths = [parts.part_path(folder, meta.number) for meta in metas if meta.also.get(name)]
    base = standing.fingerprint if standing else None
    swap(run.lake, Swap(name, run.key, slice_, run.step.name, paths, base, replace(new, rows=rows)))
