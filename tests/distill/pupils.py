"""Trainings that run in processes of their own, so that they can be killed."""

import os
import signal
from multiprocessing import get_context

from kale_tasks.config.model import Settings
from kale_tasks.distill.step import Distill
from kale_tasks.errors import KaleError
from kale_tasks.lake.lake import Lake
from kale_tasks.progress import Silent
from kale_tasks.run import Run, execute


class Mortal(Silent):
    """A progress that kills its process, with SIGKILL, once so many steps were made."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, rows: int, resumed: bool = False, **facts: float) -> None:
        self.left -= 0 if resumed else 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def distill(settings: Settings, key: str, dies_after: int | None = None) -> int | None:
    """Run the step in a fresh process; answers with its exit code, negative if a signal ended it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.distill.pupils", "kale_tasks.distill.graduate"])
    process = context.Process(target=_distill, args=(settings, key, dies_after))
    process.start()
    process.join()
    return process.exitcode


def _distill(settings: Settings, key: str, dies_after: int | None) -> None:
    progress = Silent() if dies_after is None else Mortal(dies_after)
    try:
        execute(Run(Distill(), Lake(settings), settings, key, progress=progress))
    except KaleError as error:
        raise SystemExit(error.exit_code) from None
