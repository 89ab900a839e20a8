"""The command line as its users meet it: exit code, what was said, what was complained of."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from kale_tasks.cli.app import main


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer to `--json`."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The last line of stderr."""
        return self.err.strip().rpartition("\n")[2]


def kale(*words: str, sets: Sequence[str] = ()) -> Answer:
    """Call the command line in this process, which spares the imports."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", _command(words, sets)), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            return Answer(int(end.code or 0), out.getvalue(), err.getvalue())


def kale_process(*words: str, sets: Sequence[str] = (), before: Sequence[str] = ()) -> Answer:
    """Call it as a process of its own, by way of another command if need be."""
    command = [*before, sys.executable, "-m", "kale_tasks", *_command(words, sets)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def _command(words: Sequence[str], sets: Sequence[str]) -> list[str]:
    return ["kale", *words, *(word for value in sets for word in ("--set", value))]
