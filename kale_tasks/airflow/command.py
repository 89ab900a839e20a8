"""Runs a `kale` command for an operator in a process group of its own."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from kale_tasks.errors import BadConfig, BadData, Blocked, Conflict, KaleError, Paused, Transient
from kale_tasks.process import command_environment, start_process, stop_process

_ERRORS = {error.exit_code: error for error in (KaleError, BadConfig, BadData, Transient, Conflict)}
_POLL_SECONDS = 1.0
_GRACE_SECONDS = 10.0


class Command:
    """One run of `kale ARGUMENTS`. It ends with this process, even if this process is killed."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], python: str | None = None) -> None:
        self.arguments = list(arguments)
        self._line = [python or sys.executable, "-m", "kale_tasks", *self.arguments]
        self._environment = command_environment(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, log: Callable[[str], None]) -> Any:
        """Run the command, pass each line of its stderr to `log`, and return the JSON that it printed.

        Raises the KaleError that belongs to its exit code, or Transient if it was killed.
        """
        parent = os.getppid()
        with tempfile.TemporaryFile("w+") as output:
            self._process = start_process(
                self._line, environment=self._environment, stdout=output, stderr=subprocess.PIPE
            )
            try:
                last = self._follow(log, parent)
                code = self._process.wait()
            finally:
                self.kill()
            output.seek(0)
            printed = _last_json(output.read())
            if code == BadData.exit_code and isinstance(printed, dict) and "blocked" in printed:
                raise Blocked(last.removeprefix("kale: "), printed["blocked"])
            if code == Paused.exit_code:
                moment = (printed or {}).get("resumes_at")
                raise Paused(last.removeprefix("kale: "), moment and datetime.fromisoformat(moment))
            if code:
                raise _failure(self.arguments, code, last)
            return printed

    def kill(self) -> None:
        """Stop the command and everything it started. Has no effect if all of them have ended."""
        if self._process:
            stop_process(self._process, _GRACE_SECONDS)

    def _follow(self, log: Callable[[str], None], parent: int) -> str:
        """Log each line until the command ends, and return the last line."""
        assert self._process and self._process.stderr
        last, lines = "", _Lines(self._process.stderr.fileno())
        while (line := lines.next()) is not None:
            if os.getppid() != parent:
                raise Transient("The supervisor of this task is gone. Finished parts are kept; try again.")
            if line:
                last = line
                log(line)
            elif self._process.poll() is not None:
                break  # a process that the command left behind holds the pipe open
        return last


class _Lines:
    """Reads a pipe by lines. `next` returns an empty line if there is none for a second, and None at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest, self._ended = descriptor, b"", False
        self._selector = selectors.DefaultSelector()
        self._selector.register(descriptor, selectors.EVENT_READ)

    def next(self) -> str | None:
        while b"\n" not in self._rest and not self._ended:
            if not self._selector.select(_POLL_SECONDS):
                return ""
            read = os.read(self._descriptor, 1 << 16)
            self._rest, self._ended = self._rest + read, not read
        if self._ended and not self._rest:
            return None
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").rstrip()


def _failure(arguments: Sequence[str], code: int, last: str) -> KaleError:
    if code < 0:
        name = signal.Signals(-code).name
        return Transient(f"kale {arguments[0]} was stopped by {name}. Finished parts are kept; try again.")
    return _ERRORS.get(code, KaleError)(last.removeprefix("kale: ") or f"kale {arguments[0]} ended with code {code}.")


def _last_json(text: str) -> Any:
    for line in reversed(text.splitlines()):
        with suppress(ValueError):
            return json.loads(line)
    return None
