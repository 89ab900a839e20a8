"""A fork server: imports the command line once, then forks a process in its own group for each command.

A command can be stopped (SIGSTOP) or killed (SIGKILL) at its n-th event, which is a write to the store or
a commit to the catalog. Moments that are counted in events are the same in each replay, whatever the machine's load.
"""

import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from tests.operations.hooks import count_events, import_all, move_clock

_SECONDS = 240  # the longest that a command may take
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Moment:
    """The event at which a process stops or dies; `seconds` instead of an event for a moment on the clock."""

    kind: str  # stop or kill
    event: int = 0
    of: str = ""  # counts some events only, see `count_events`
    seconds: float = 0.0


@dataclass
class Process:
    """A forked command. `code` is None until it has ended; negative if a signal ended it."""

    pid: int
    out: Path
    code: int | None = None
    stopped: bool = False
    moment: Moment | None = None
    started: float = 0.0

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.out.read_text(errors="replace")

    def send(self, signal_: int) -> None:
        """Send a signal to the command and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal_)

    @property
    def has_hung(self) -> bool:
        """Whether it took so long that it was aborted: where it waited is in its text."""
        return self.code == -signal.SIGABRT

    @property
    def has_orphans(self) -> bool:
        """Whether a process of its group is left."""
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class ForkServer:
    """Starts commands; one server serves all sequences of a process."""

    def __init__(self, patches: Sequence[str] = ()) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.operations.forks", *patches],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith("KALE_")},
        )
        assert self._server.stdout
        os.set_blocking(self._server.stdout.fileno(), False)
        self._processes: dict[int, Process] = {}
        self._buffer = b""

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            if process.code is None:
                process.send(signal.SIGKILL)
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()

    @property
    def cpu_seconds(self) -> float:
        """What the commands that have ended and their children have spent."""
        times = psutil.Process(self._server.pid).cpu_times()
        return float(times.children_user + times.children_system)

    def start(self, command: Sequence[str], out: Path, moment: Moment | None = None, days: float = 0) -> Process:
        """Start a command of the command line, or a function named `module:function`, with a clock `days` ahead."""
        request = {"command": list(command), "out": str(out), "days": days}
        if moment and moment.event:
            request["moment"] = [moment.kind, moment.event, moment.of]
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        while not (found := [p for p in self._poll() if p.out == out]):
            time.sleep(_POLL_SECONDS)
        found[0].moment, found[0].started = moment, time.monotonic()
        return found[0]

    def wait(self, *processes: Process) -> None:
        """Wait until each has ended or stopped."""
        deadline = time.monotonic() + _SECONDS
        while waiting := [p for p in processes if p.code is None and not p.stopped]:
            self._poll()
            now = time.monotonic()
            for process in waiting:
                self._act_on_the_clock(process, now)
            if now > deadline:
                for process in waiting:
                    process.send(signal.SIGABRT)  # prints where it waits
                deadline = now + _SECONDS
            time.sleep(_POLL_SECONDS)

    def proceed(self, process: Process) -> None:
        """Let a stopped process go on."""
        process.stopped = False
        process.send(signal.SIGCONT)

    def run(self, command: Sequence[str], out: Path) -> Process:
        """Run a command to its end."""
        process = self.start(command, out)
        self.wait(process)
        return process

    def _act_on_the_clock(self, process: Process, now: float) -> None:
        moment = process.moment
        if moment and moment.seconds and now - process.started >= moment.seconds:
            process.moment = None
            process.send(signal.SIGKILL if moment.kind == "kill" else signal.SIGSTOP)

    def _poll(self) -> list[Process]:
        """Read what the server reports and return the processes that it has started since."""
        assert self._server.stdout
        self._buffer += self._server.stdout.read() or b""
        if self._server.poll() is not None:
            raise RuntimeError("The fork server has ended.")
        *lines, self._buffer = self._buffer.split(b"\n")
        started = []
        for line in map(json.loads, lines):
            if "out" in line:
                self._processes[line["pid"]] = process = Process(line["pid"], Path(line["out"]))
                started.append(process)
            elif "code" in line:
                self._processes[line["pid"]].code = line["code"]
            else:
                self._processes[line["pid"]].stopped = True
        return started


def serve(patches: Sequence[str]) -> None:
    """Fork for each request on stdin and report on stdout, until stdin is closed."""
    import_all()
    for patch in patches:
        _call(patch)
    os.set_blocking(0, False)
    buffer = b""
    while True:
        try:
            read = os.read(0, 1 << 20)
        except BlockingIOError:
            read = None
        if read == b"":
            return
        *lines, buffer = (buffer + (read or b"")).split(b"\n")
        for line in lines:
            request = json.loads(line)
            _report({"pid": _fork(request), "out": request["out"]})
        _reap()
        time.sleep(_POLL_SECONDS)


def _report(line: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if not pid:
            return
        _report({"pid": pid, "stopped": True} if os.WIFSTOPPED(status) else
                {"pid": pid, "code": os.waitstatus_to_exitcode(status)})  # fmt: skip


def _fork(request: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    try:
        os.setpgid(0, 0)
        out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, null), (1, out), (2, out)):
            os.dup2(source, target)
        faulthandler.enable()
        if request["days"]:
            move_clock(request["days"])
        if "moment" in request:
            count_events(*request["moment"])
        code = _run(request["command"])
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run(command: Sequence[str]) -> int:
    if ":" in command[0]:
        return int(_call(*command) or 0)
    from kale_tasks.cli.app import main

    sys.argv = ["kale", *command]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)


def _call(name: str, *arguments: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)(*arguments)


if __name__ == "__main__":
    serve(sys.argv[1:])
