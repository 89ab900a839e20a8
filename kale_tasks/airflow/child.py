"""Runs the `kale` command for an operator: when that is gone, killed or not, the whole process group goes with it."""

import os
import signal
import sys
import threading


def _die_with_parent() -> None:
    # The operator holds the other end of stdin and never writes: it ends when that process does, however it ends.
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from kale_tasks.cli.app import main

    sys.argv[0] = "kale"
    main()
