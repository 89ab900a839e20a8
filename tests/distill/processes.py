"""Trainings in processes of their own, so that tests can kill them."""

import os
import resource
import signal
from collections.abc import Callable
from multiprocessing import get_context

from kale_tasks.distill.step import Distill
from kale_tasks.errors import KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Progress, Silent
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings.model import Settings


class ActAfter(Silent):
    """A progress that calls a function in its process after some training steps."""

    def __init__(self, steps: int, act: Callable[[], None]) -> None:
        self.left, self.act = steps, act

    def advance(self, rows: int, resumed: bool = False, **facts: float) -> None:
        self.left -= 0 if resumed else 1
        if self.left <= 0:
            self.act()


def kill_self() -> None:
    """Kill this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk() -> None:
    """Let every further write of more than 4 kB fail."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, resource.RLIM_INFINITY))


def distill(settings: Settings, key: str, progress: Progress | None = None) -> int | None:
    """Run the step in a new process. Return its exit code, which is negative if a signal ended it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.distill.processes", "kale_tasks.distill.finalize"])
    process = context.Process(target=_distill, args=(settings, key, progress or Silent()))
    process.start()
    process.join()
    return process.exitcode


def _distill(settings: Settings, key: str, progress: Progress) -> None:
    try:
        execute(Run(Distill("demo"), Lake(settings), settings, key, progress=progress))
    except KaleError as error:
        raise SystemExit(error.exit_code) from None
