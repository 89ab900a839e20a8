"""Starts commands in process groups of their own and stops them with everything that they started."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from errno import ENOENT
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil

_GRACE_SECONDS = 15.0
_PARENT_POLL_SECONDS = 1.0
# Variables that almost every program needs and that hold no secret.
_HARMLESS = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ")

SCRATCH = "kale-scratch-"  # how names of temporary folders begin: maintenance deletes old ones, and no others


def start_process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    outlives_parent: bool = False,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a command in a new session and process group.

    Unless `outlives_parent` is set, the whole group is killed as soon as this process or the command ends, however they
    end (Linux only; elsewhere `stop_process` must be called). `environment` replaces the environment of this process.
    Raises FileNotFoundError if there is no such program.
    """
    path = environment.get("PATH") if environment is not None else None
    if shutil.which(command[0], path=path) is None:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), command[0])
    guarded = not outlives_parent and sys.platform == "linux"
    guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("process_guard.py")), str(os.getpid())]
    return subprocess.Popen(
        [*guard, *command] if guarded else list(command),
        env=None if environment is None else dict(environment),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def stop_process(process: "subprocess.Popen[Any]", grace_seconds: float = _GRACE_SECONDS) -> int:
    """Stop the group of a process that `start_process` started, and return the exit code of that process.

    Sends SIGTERM if it is running, and SIGKILL after the grace period to whatever is left of the group. Has no effect
    if all of them have ended.
    """
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    _signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def allowed_environment(names: Iterable[str] = (), **values: str) -> dict[str, str]:
    """Return an environment for a process that must inherit no secret.

    It has the variables that almost every program needs (PATH, HOME, the locale), those named, and the values given.
    """
    allowed = {*_HARMLESS, *names}
    return {name: value for name, value in os.environ.items() if name in allowed} | values


def command_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: that of this process without what is Airflow's own, such as its secrets."""
    own = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("AIRFLOW")}
    return {**own, **added, "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class ProcessGroup:
    """A process group that outlives the process that started it, identified by its first process.

    The start time (`born`) tells that process from a later one with the same number.
    """

    name: str
    pid: int
    born: float

    @staticmethod
    def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> "ProcessGroup":
        """Start a command in a new group and append its output to the log."""
        with log.open("ab") as out:
            process = start_process(command, environment=environment, outlives_parent=True, stdout=out, stderr=out)
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
        _signal_group(self.pid, number)

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


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def started_at(pid: int) -> float:
    """When a process started, which tells it from a later one with the same number; 0.0 if there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def is_working(pid: int, born: float) -> bool:
    """Whether the process of this machine that started at `born` is there and is not stopped."""
    try:
        process = psutil.Process(pid)
        ended = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD, psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return bool(process.create_time() == born and process.status() not in ended)
    except psutil.NoSuchProcess:
        return False


@cache
def machine() -> str:
    """Name what has its own process numbers: a host since it was started, or a container on it."""
    namespace = os.readlink("/proc/self/ns/pid") if sys.platform == "linux" else ""
    return f"{socket.gethostname()} {psutil.boot_time():.0f} {namespace}"


def exit_with_parent(parent: int) -> None:
    """End this process soon after the process of that id, its parent, has ended, also by SIGKILL.

    For initializers of process pools. The parent is given, since it may have ended before this is called.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
