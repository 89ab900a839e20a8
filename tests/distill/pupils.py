"""Trainings that run in processes of their own, so that they can be killed."""

import os
import resource
import signal
from collections.abc import Callable
from multiprocessing import get_context

from kale_tasks.distill.step import Distill
from kale_tasks.errors import KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Progress, Silent
from kale_tasks.runner.run import Run, execute
from kale_tasks.settings.model import Settings


class Fated(Silent):
    """A progress that brings a fate upon its process once so many steps were made."""

    def __init__(self, steps: int, fate: Callable[[], None]) -> None:
        self.left, self.fate = steps, fate

    def advance(self, rows: int, resumed: bool = False, **facts: float) -> None:
        self.left -= 0 if resumed else 1
        if self.left <= 0:
            self.fate()


def die() -> None:
    """By SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk() -> None:
    """No file of any size fits any more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, resource.RLIM_INFINITY))


def distill(settings: Settings, key: str, progress: Progress | None = None) -> int | None:
    """Run the step in a fresh process; answers with its exit code, negative if a signal ended it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.distill.pupils", "kale_tasks.distill.finalize"])
    process = context.Process(target=_distill, args=(settings, key, progress or Silent()))
    process.start()
    process.join()
    return process.exitcode


def _distill(settings: Settings, key: str, progress: Progress) -> None:
    try:
        execute(Run(Distill(), Lake(settings), settings, key, progress=progress))
    except KaleError as error:
        raise SystemExit(error.exit_code) from None
