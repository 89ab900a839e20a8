"""Trainings that run in processes of their own, so that they can be killed."""

import os
import resource
import signal
from multiprocessing import get_context

from kale_tasks.config.model import Settings
from kale_tasks.distill.step import Distill
from kale_tasks.errors import KaleError
from kale_tasks.lake.lake import Lake
from kale_tasks.progress import Progress, Silent
from kale_tasks.run import Run, execute


class Mortal(Silent):
    """A progress that kills its process, with SIGKILL, once so many steps were made."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, rows: int, resumed: bool = False, **facts: float) -> None:
        self.left -= 0 if resumed else 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Cramped(Silent):
    """A progress after so many steps of which no file fits on the disk any more."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, rows: int, resumed: bool = False, **facts: float) -> None:
        self.left -= 0 if resumed else 1
        if self.left <= 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, resource.RLIM_INFINITY))


def distill(settings: Settings, key: str, progress: Progress | None = None) -> int | None:
    """Run the step in a fresh process; answers with its exit code, negative if a signal ended it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.distill.pupils", "kale_tasks.distill.graduate"])
    process = context.Process(target=_distill, args=(settings, key, progress or Silent()))
    process.start()
    process.join()
    return process.exitcode


def _distill(settings: Settings, key: str, progress: Progress) -> None:
    try:
        execute(Run(Distill(), Lake(settings), settings, key, progress=progress))
    except KaleError as error:
        raise SystemExit(error.exit_code) from None
