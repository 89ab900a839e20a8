"""Process groups end as a whole: with their parent, with their first process, or when they are stopped."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from kale_tasks.process import ProcessGroup, allowed_environment, start_process, stop_groups, stop_process
from tests.services.server import wait_until

# A process that logs SIGTERM and ignores it.
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("ready", flush=True)
time.sleep(60)
time.sleep(60)
"""
# Starts such a process, prints its pid, and stops it as soon as it is ready. A shell's background job ignores ctrl-C.
_STOPPER = """
import os, signal, sys, time
from pathlib import Path
from kale_tasks.process import ProcessGroup, stop_groups
signal.signal(signal.SIGINT, signal.default_int_handler)
group = ProcessGroup.start("stubborn", sys.argv[1:3], os.environ, Path(sys.argv[3]))
print(group.pid, flush=True)
while Path(sys.argv[3]).read_text() != "ready\\n":
    time.sleep(0.02)
stop_groups([group])
"""
# Starts a child, prints the numbers of both, and ignores everything but SIGKILL.
_FAMILY = """
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""
# Starts a family with `start_process` and waits.
_PARENT = """
import subprocess, sys, time
from kale_tasks.process import start_process
process = start_process(sys.argv[1:], stdout=subprocess.PIPE)
print(process.stdout.readline().decode(), end="", flush=True)
time.sleep(60)
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
        assert stopper.wait(12) == -signal.SIGINT  # before the 15 seconds of grace have passed
    assert not process.is_running()


def test_nothing_survives_a_parent_that_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _PARENT, *command(tmp_path / "family.py", _FAMILY)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        family = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(psutil.pid_exists, family))
        parent.kill()
    wait_until(lambda: not any(map(runs, family)), "the end of the command and of its child", 10)


def test_nothing_survives_a_command_that_is_killed(tmp_path: Path) -> None:
    process = start_process(command(tmp_path / "family.py", _FAMILY), stdout=subprocess.PIPE)
    assert process.stdout
    own, child = map(int, process.stdout.readline().split())
    assert own == process.pid
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    wait_until(lambda: not runs(child), "the end of its child", 10)
    process.stdout.close()


def test_a_command_survives_the_thread_that_started_it() -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: started.append(start_process(["sleep", "60"])))
    thread.start()
    thread.join()
    with pytest.raises(subprocess.TimeoutExpired):
        started[0].wait(1)
    assert stop_process(started[0]) == -signal.SIGTERM


def test_stopping_asks_first_and_kills_after_the_grace_period(tmp_path: Path) -> None:
    process = start_process(command(tmp_path / "family.py", _FAMILY), stdout=subprocess.PIPE)
    assert process.stdout
    family = [int(pid) for pid in process.stdout.readline().split()]
    assert stop_process(process, grace_seconds=0.2) == -signal.SIGKILL
    wait_until(lambda: not any(map(runs, family)), "the end of both", 10)
    assert stop_process(process) == -signal.SIGKILL
    process.stdout.close()


def test_a_command_has_its_own_exit_code_output_and_input() -> None:
    shell = ["sh", "-c", "read line; echo got $line; exit 7"]
    process = start_process(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = process.communicate(b"this\n", timeout=10)  # ends only if no other process holds the pipe
    assert (output, process.returncode) == (b"got this\n", 7)


def test_a_process_with_an_allow_list_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALE_S3__SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("KALE_PROFILE", "demo")
    process = start_process(
        ["env"], environment=allowed_environment(["KALE_PROFILE"], OMP_NUM_THREADS="1"), stdout=subprocess.PIPE
    )
    names = {line.partition("=")[0] for line in process.communicate(timeout=10)[0].decode().splitlines()}
    assert {"KALE_PROFILE", "OMP_NUM_THREADS", "PATH"} <= names
    assert "KALE_S3__SECRET_ACCESS_KEY" not in names


def test_a_program_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        start_process(["no-such-program"])


def runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
