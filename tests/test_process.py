"""A process group is stopped as a whole: by SIGTERM, then by SIGKILL after a while or upon an interrupt."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from kale_tasks.process import ProcessGroup, stop_groups
from tests.services.server import wait_until

# A process that logs SIGTERM and ignores it.
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("ready", flush=True)
time.sleep(60)
time.sleep(60)
"""
# Starts such a process, prints its pid, and stops it as soon as it is ready.
_STOPPER = """
import os, sys, time
from pathlib import Path
from kale_tasks.process import ProcessGroup, stop_groups
group = ProcessGroup.start("stubborn", sys.argv[1:3], os.environ, Path(sys.argv[3]))
print(group.pid, flush=True)
while Path(sys.argv[3]).read_text() != "ready\\n":
    time.sleep(0.02)
stop_groups([group])
"""


def command(script: Path, code: str) -> list[str]:
    """A command that runs some Python code."""
    script.write_text(code)
    return [sys.executable, str(script)]


def test_a_group_is_stopped_with_the_children_of_its_first_process(tmp_path: Path) -> None:
    parent = "import subprocess, time\nprint(subprocess.Popen(['sleep', '60']).pid, flush=True)\ntime.sleep(60)"
    log = tmp_path / "log"
    group = ProcessGroup.start("parent", command(tmp_path / "parent.py", parent), {}, log)
    wait_until(lambda: log.read_text().endswith("\n"), "the child", 10)
    child = psutil.Process(int(log.read_text()))
    stop_groups([group])
    wait_until(lambda: not child.is_running(), "the child to end", 5)
    assert not group.alive


def test_an_interrupt_while_a_group_is_being_stopped_kills_it_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [sys.executable, "-c", _STOPPER, *command(tmp_path / "stubborn.py", _STUBBORN), str(log)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as stopper:
        assert stopper.stdout
        process = psutil.Process(int(stopper.stdout.readline()))
        wait_until(lambda: "asked" in log.read_text(), "SIGTERM", 10)
        assert process.is_running()
        stopper.send_signal(signal.SIGINT)
        assert stopper.wait(5) == -signal.SIGINT  # well before the 15 seconds of grace have passed
    assert not process.is_running()
