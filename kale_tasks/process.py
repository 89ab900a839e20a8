"""Processes in groups of their own, which another process can find again and end."""

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
class Group:
    """A process group, known by its first process; the time of birth keeps a later owner of the number safe."""

    name: str
    pid: int
    born: float

    @staticmethod
    def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> "Group":
        """Start a command; what it says goes to the log."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(environment),
                start_new_session=True,
            )
        return Group(name, process.pid, psutil.Process(process.pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether the first process still runs."""
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
        """For the file by which `stop` finds it again."""
        return asdict(self)


def stop(groups: Sequence[Group]) -> None:
    """End all groups: all are asked first, and those that stay are ended by force."""
    ours = [group for group in groups if group.alive]
    for group in ours:
        group.signal(signal.SIGTERM)
    first = [psutil.Process(group.pid) for group in ours if group.alive]
    psutil.wait_procs(first, timeout=_GRACE_SECONDS)
    for group in ours:
        group.signal(signal.SIGKILL)  # also what the first process left behind
    psutil.wait_procs(first, timeout=_GRACE_SECONDS)
