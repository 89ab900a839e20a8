"""Starts commands in process groups of their own that a later process can find and stop."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_GRACE_SECONDS = 15


@dataclass(frozen=True)
class ProcessGroup:
    """A process group, identified by its first process.

    The start time (`born`) tells that process from a later one with the same number.
    """

    name: str
    pid: int
    born: float

    @staticmethod
    def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> "ProcessGroup":
        """Start a command in a new group and append its output to the log."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(environment),
                start_new_session=True,
            )
        return ProcessGroup(name, process.pid, psutil.Process(process.pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether the first process is running."""
        try:
            process = psutil.Process(self.pid)
            return bool(process.create_time() == self.born and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def as_json(self) -> dict[str, object]:
        """Return the fields as a JSON object."""
        return asdict(self)


def stop_groups(groups: Sequence[ProcessGroup]) -> None:
    """Send SIGTERM to the running groups, and SIGKILL 15 seconds later to whatever is left of them.

    An interrupt during the wait (ctrl-C) sends SIGKILL at once and is raised again.
    """
    running: list[ProcessGroup] = []
    first: list[psutil.Process] = []
    try:
        running += [group for group in groups if group.alive]
        for group in running:
            group.signal(signal.SIGTERM)
        first += [psutil.Process(group.pid) for group in running if group.alive]
        psutil.wait_procs(first, timeout=_GRACE_SECONDS)
    finally:
        for group in running:
            group.signal(signal.SIGKILL)  # also stops processes that the first one left behind
        psutil.wait_procs(first, timeout=_GRACE_SECONDS)
