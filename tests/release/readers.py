"""Readers of a target: what they find, also while a release is being published."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

State = frozenset[str]

_LOAD = """
import json, sys, datasets
asked = json.loads(sys.argv[1])
whole = datasets.load_dataset(**asked, split="train")
streamed = datasets.load_dataset(**asked, split="train", streaming=True)
print(json.dumps({
    "whole": sorted(whole["uid"]), "streamed": sorted(r["uid"] for r in streamed),
    "types": {n: str(f) for n, f in whole.features.items()}, "row": whole[0],
}))
"""


def load_dataset(asked: Mapping[str, Any], cache: Path, **environment: str) -> dict[str, Any]:
    """Load a release by `datasets.load_dataset` in its own process: whole and streamed."""
    env = {"PATH": "/usr/bin:/bin", "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-c", _LOAD, json.dumps(asked)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def watching(look: Callable[[], State]) -> Iterator[list[State]]:
    """Read again and again; yields the distinct states that were seen, in order."""
    seen: list[State] = [look()]
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if (state := look()) != seen[-1]:
                seen.append(state)
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        if (state := look()) != seen[-1]:
            seen.append(state)
