"""Starts a training: in this process, in several of this machine, or in those that torchrun has started."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kale_tasks.contract.step import Step
from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.parallel import (
    TrainingProcess,
    is_launched,
    launched_process,
    require_equal_shares,
    run_in_processes,
    single_process,
)
from kale_tasks.distill.train import train
from kale_tasks.errors import BadConfig
from kale_tasks.lake.leases import Lease, Renewals
from kale_tasks.lake.preview import open_lake
from kale_tasks.progress import Silent, make
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan, reopen
from kale_tasks.settings.model import Settings

_LOG = logging.getLogger(__name__)
_Planned = tuple[str, str, str | None]  # key, fingerprint and base of a run


def run_training(run: Run) -> None:
    """Train to the last step, in as many processes of this machine as the settings say."""
    settings = run.settings.distill.train
    if is_trained(run):
        return
    if settings.processes == 1:
        train(single_process(settings), run)
    else:
        require_equal_shares(settings, settings.processes)
        base = run.previous.fingerprint if run.previous else None
        run_in_processes(_train_reopened, settings, run.step, run.settings, (run.key, run.fingerprint, base))


def is_trained(run: Run) -> bool:
    """Whether the training of a run has reached its last step, here or elsewhere."""
    state = newest_state(run.lake.storage, checkpoint_folder(run.folder))
    return state is not None and state.step >= run.settings.distill.train.steps


def train_launched(step: Step, settings: Settings, key: str) -> None:
    """Train to the last step as one of the processes that torchrun has started. `kale run` then does the rest.

    The leader plans the run; the others open it as planned.
    """
    if not is_launched():
        raise BadConfig("This is one of several processes: start it with torchrun, or train with `kale run distill`.")
    with launched_process(settings.distill.train) as process, _held(process, step, settings, key) as planned:
        if planned:
            _train_reopened(process, step, settings, planned)


@contextmanager
def _held(process: TrainingProcess, step: Step, settings: Settings, key: str) -> Iterator[_Planned | None]:
    """Yield the run to work on, of which the leader holds the lease; None if there is nothing left to train."""
    if not process.is_leader:
        yield process.same(lambda: None)
        return
    run = Run(step, open_lake(settings), settings, key)
    made = plan(run)
    lease = Lease(run.lake.storage, run.folder, [0])
    todo = not made.committed and not is_trained(run) and lease.wait(lambda: is_trained(run), _LOG.info)
    if not todo:
        yield process.same(lambda: None)
        return
    with Renewals(lease):
        yield process.same(lambda: (run.key, run.fingerprint, made.base))


def _train_reopened(process: TrainingProcess, step: Step, settings: Settings, planned: _Planned) -> None:
    progress = make(settings.log) if process.is_leader else Silent()
    run, found = reopen(step, open_lake(settings), settings, planned, progress)
    progress.begin(f"distill {run.key}", found.chunks[0].stop)
    train(process, run)
