"""A `kale` command in a process group of its own: progress as lines, an answer as JSON, failure as an exception."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from kale_tasks.errors import BadConfig, BadData, Conflict, KaleError, Transient

_ERRORS = {error.exit_code: error for error in (KaleError, BadConfig, BadData, Transient, Conflict)}
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 10.0


class Command:
    """One run of `kale ARGUMENTS`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], python: str | None = None) -> None:
        self.arguments = list(arguments)
        self._line = [python or sys.executable, "-m", "kale_tasks.airflow.child", *self.arguments]
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[str] | None = None

    def run(self, say: Callable[[str], None]) -> Any:
        """Run to the end, every line of progress said at once; answers with the JSON that the command printed."""
        parent = os.getppid()
        with tempfile.TemporaryFile("w+") as answer:
            self._process = self._start(answer)
            try:
                said = self._follow(say, parent)
                code = self._process.wait()
            finally:
                self.kill()
            if code:
                raise _failure(self.arguments, code, said)
            answer.seek(0)
            return _last_json(answer.read())

    def kill(self) -> None:
        """End the whole group: a chance to leave in order, then by force. Nothing happens when all have ended."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS)
            os.killpg(process.pid, signal.SIGKILL)  # what the command itself left behind
        process.wait()

    def _start(self, answer: IO[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self._line,
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
            text=True,
            errors="replace",
        )

    def _follow(self, say: Callable[[str], None], parent: int) -> str:
        """Says each line until the command has ended; answers with the last one."""
        assert self._process and self._process.stderr
        last, lines = "", _Lines(self._process.stderr.fileno())
        while (line := lines.next()) is not None:
            if os.getppid() != parent:
                raise Transient("The supervisor of this task is gone; what the command had finished stands.")
            if line:
                last = line
                say(line)
            elif self._process.poll() is not None:
                break  # a process that it left behind holds the pipe open
        return last


class _Lines:
    """Lines of a pipe; an empty one when nothing came for a while, None at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest, self._ended = descriptor, b"", False
        self._selector = selectors.DefaultSelector()
        self._selector.register(descriptor, selectors.EVENT_READ)

    def next(self) -> str | None:
        while b"\n" not in self._rest and not self._ended:
            if not self._selector.select(_LOOK_SECONDS):
                return ""
            read = os.read(self._descriptor, 1 << 16)
            self._rest, self._ended = self._rest + read, not read
        if self._ended and not self._rest:
            return None
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").rstrip()


def _failure(arguments: Sequence[str], code: int, said: str) -> KaleError:
    if code < 0:
        name = signal.Signals(-code).name
        return Transient(f"kale {arguments[0]} was ended by {name}; the parts it had finished stand.")
    return _ERRORS.get(code, KaleError)(said.removeprefix("kale: ") or f"kale {arguments[0]} ended with code {code}.")


def _last_json(text: str) -> Any:
    for line in reversed(text.splitlines()):
        with suppress(ValueError):
            return json.loads(line)
    return None
