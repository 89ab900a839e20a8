"""Runs a command that must not outlive the process that started it; see `start_process`.

Run as a script by an interpreter without site-packages, as the first process of a new session:
`process_guard.py PARENT COMMAND...`. It leaves a small watcher behind and becomes the command. The watcher kills the
whole process group as soon as the parent or the command is gone, even if they were killed with SIGKILL.
"""

import os
import select
import signal
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> NoReturn:
    """Start the watcher, then replace this process with the command."""
    parent = int(sys.argv[1])
    try:
        # Watching processes, rather than PR_SET_PDEATHSIG: that signal reaches the first process of the group only, and
        # is also sent when merely the thread that started it ends.
        watched = [os.pidfd_open(parent), os.pidfd_open(os.getpid())]
    except ProcessLookupError:
        watched = []
    if not watched or os.getppid() != parent:
        sys.exit(f"process {parent}, which started this command, has ended")
    child = os.fork()
    if child == 0:
        if os.fork() == 0:  # not a child of the command, which might wait for all of its children
            watch(watched)
        os._exit(0)
    os.waitpid(child, 0)
    os.execvp(sys.argv[2], sys.argv[2:])


def watch(watched: list[int]) -> NoReturn:
    """Wait until one of the processes has ended, then kill the process group, this process included."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for name in os.listdir("/proc/self/fd"):  # pipes of the command must close when the command closes them
        if int(name) not in watched:
            with suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))
    ended = select.poll()
    for descriptor in watched:
        ended.register(descriptor, select.POLLIN)
    ended.poll()
    os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
