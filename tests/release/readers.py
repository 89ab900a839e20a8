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


_LOAD_ALL = """
import json, sys, datasets
path = sys.argv[1]
found = {}
for name in datasets.get_dataset_config_names(path):
    for split, rows in datasets.load_dataset(path, name).items():
        streamed = datasets.load_dataset(path, name, split=split, streaming=True)
        assert [r["uid"] for r in streamed] == rows["uid"][:], (name, split)
        found[f"{name}/{split}"] = {"uids": sorted(rows["uid"]), "columns": rows.column_names}
print(json.dumps(found))
"""


def load_all(path: str, cache: Path, **environment: str) -> dict[str, dict[str, list[str]]]:
    """Load every config and split that `datasets` finds at a place, whole and streamed: uids and columns of each."""
    return dict(json.loads(_run(_LOAD_ALL, path, cache, environment)))


def load_dataset(asked: Mapping[str, Any], cache: Path, **environment: str) -> dict[str, Any]:
    """Load a release by `datasets.load_dataset` in its own process: whole and streamed."""
    return dict(json.loads(_run(_LOAD, json.dumps(asked), cache, environment)))


def _run(code: str, argument: str, cache: Path, environment: Mapping[str, str]) -> str:
    env = {"PATH": "/usr/bin:/bin", "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@contextmanager
def watching(look: Callable[[], State]) -> Iterator[list[State]]:
    """Read again and again; yields the distinct states that were seen, in order."""
    seen: list[State] = [look()]
    over, failed = threading.Event(), list[BaseException]()

    def watch() -> None:
        try:
            while not over.is_set():
                if (state := look()) != seen[-1]:
                    seen.append(state)
                time.sleep(0.02)
        except BaseException as error:  # what a reader could not read is the finding
            failed.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        if failed:
            raise failed[0]
        if (state := look()) != seen[-1]:
            seen.append(state)
