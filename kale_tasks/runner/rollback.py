"""Rolls a key back: commits an earlier run of a step again, and holds the key there."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Plan
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake import verdicts
from kale_tasks.lake.damage import require_intact
from kale_tasks.lake.holds import hold
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.progress import Silent
from kale_tasks.runner.meter import Meter
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, read_sealed
from kale_tasks.runner.verbs import commit
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings


@dataclass(frozen=True)
class Candidate:
    """A sealed run of a key whose files still exist."""

    run: str
    sealed_at: str
    rows: int
    cleared: bool  # passed its checks, or was accepted by a person
    committed: bool  # is committed now


class EarlierRun(Run):
    """A sealed run, opened from its `run.json` to be committed again."""

    def __init__(self, step: Step, lake: Lake, settings: Settings, sealed: SealedRun) -> None:
        self.step, self.lake, self.settings, self.key = step, lake, settings, sealed.key
        self.progress, self.meter = Silent(), Meter()
        self.config, self.inputs, self._opened = dict(sealed.config), dict(sealed.inputs), {}
        self.previous = lake.committed(step.table, sealed.key, step.slice)
        self.fingerprint, self.because, self.side_inputs = sealed.fingerprint, sealed.because, {}


def candidates(lake: Lake, step: Step, key: str) -> list[Candidate]:
    """List the runs that a key can be rolled back to, and the committed one, the latest first."""
    prefix = f"{step.table}/key={key}"
    current = lake.committed(step.table, key, step.slice)
    times: dict[str, datetime] = {}
    paths = set()
    for entry in lake.storage.entries(prefix):
        paths.add(entry.path)
        folder, _, name = entry.path.rpartition("/")
        if name == "run.json":
            times[folder] = entry.modified
    found = []
    for folder, time in sorted(times.items(), key=lambda item: item[1], reverse=True):
        sealed = read_sealed(lake.storage, folder)
        if sealed and sealed.step == step.name and paths.issuperset(sealed.paths(step.table)):
            at = time.isoformat(timespec="seconds")
            committed = current is not None and current.fingerprint == sealed.fingerprint
            found.append(Candidate(sealed.fingerprint, at, sealed.rows, _cleared(lake, step, sealed), committed))
    return found


def roll_back(lake: Lake, settings: Settings, step: Step, key: str, to: str, why: str) -> Committed:
    """Hold a key for a reason and commit an earlier run of it again; later steps become stale if the rows differ.

    Raises BadConfig if there is no such run, BadData if it did not pass its checks or its files are damaged.
    """
    if step.keep:
        raise BadConfig(
            f"{step.name} adds to its table: there is nothing to roll back. For students use `kale models rollback`; "
            f"for a release, publish an earlier key."
        )
    sealed = _sealed(lake, step, key, to)
    if step.suite:
        verdicts.require_verdict(lake.storage, step.name, key, sealed.seal_id)
    for files in sealed.files.values():
        for file in files:
            require_intact(lake.storage, file.path, file.sha256, file.bytes)
    hold(lake.storage, step.partition(key), why)
    run = EarlierRun(step, lake, settings, sealed)
    return commit(run, _plan(run))


def _sealed(lake: Lake, step: Step, key: str, to: str) -> SealedRun:
    sealed = read_sealed(lake.storage, run_folder(step.table, key, to))
    if sealed is None or sealed.step != step.name:
        known = ", ".join(one.run for one in candidates(lake, step, key) if not one.committed) or "none"
        raise BadConfig(f"{step.name} {key} has no finished run '{to}'. Runs to roll back to: {known}.")
    return sealed


def _plan(run: Run) -> Plan:
    try:
        made = Plan.model_validate_json(run.lake.storage.read(f"{run.folder}/plan.json"))
    except (FileNotFoundError, ValidationError) as error:
        raise BadData(
            f"The plan of run {run.fingerprint} of {run.step.name} {run.key} is gone or of another version. Roll back "
            f"to another run (`kale rollback {run.step.name} --key {run.key}` lists them)."
        ) from error
    base = run.previous.origin if run.previous else None
    return made.model_copy(update={"base": base, "committed": run.committed})


def _cleared(lake: Lake, step: Step, sealed: SealedRun) -> bool:
    if not step.suite:
        return True
    verdict = verdicts.read_verdict(lake.storage, sealed.seal_id)
    passed = verdict is not None and verdict["status"] in verdicts.CLEARED
    return passed or verdicts.read_acceptance(lake.storage, sealed.seal_id) is not None
