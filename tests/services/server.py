"""What the real servers of the tests have in common: a free port, a process group, a wait until ready."""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel lends to clients, so that a restart finds it free."""
    for port in random.sample(range(20_000, 30_000), 200):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port
    raise RuntimeError("no free port between 20000 and 30000")


def listens(port: int) -> bool:
    """Whether something answers on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def wait_until(
    ready: Callable[[], bool],
    what: str,
    seconds: float = 60,
    alive: Callable[[], bool] = lambda: True,
    pause: float = 0.05,
) -> None:
    """Returns when `ready`; raises when time is over or what it waits for has died.

    `pause`: seconds between two looks; each look is work for a server that is asked.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive() or time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(pause)


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """A folder for a server's data. Its path is short, as Unix sockets need, and readable for other users."""
    with tempfile.TemporaryDirectory(prefix=f"kale-{name}-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Server:
    """A server process in a group of its own, which a test can take away and bring back."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        # A server dies with the thread that started it, so with the tests even when those are killed.
        self._command = ["setpriv", "--pdeathsig", "KILL", *command]
        self._log, self._ready, self._user, self._stop_signal = log, ready, user, stop_signal
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env=self._env,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                start_new_session=True,
            )
        try:
            wait_until(self._ready, self._command[3], alive=self.is_alive)
        except RuntimeError as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self._log.read_text(errors='replace')[-2000:]}") from error

    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Ends the group: by `stop_signal`, and within ten seconds by force."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """Ends the group at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for step in (how, signal.SIGKILL):  # the second also ends what the first left behind
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, step)
                process.wait(timeout=10)

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
