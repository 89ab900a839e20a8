"""A process that runs the small test step, and dies by SIGKILL at a given point."""

import os
import signal
import sys
from collections.abc import Callable
from inspect import getattr_static
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

import kale_tasks.runner.commit as committing
import kale_tasks.runner.verbs as running
from kale_tasks.lake.storage import folder
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.storage.s3 import S3Storage
from kale_tasks.runner import ledger
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.lakes import lake_of
from tests.steps import Numbers


def die() -> None:
    """No goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(owner: Any, name: str, when: Callable[..., bool], after: bool = False) -> None:
    """Wrap a function so that the process dies at the call for which `when` holds."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        now = when(*args, **kwargs)
        if now and not after:
            die()
        result = original(*args, **kwargs)
        if now:
            die()
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(getattr_static(owner, name), staticmethod) else wrapped)


def nth(n: int, wanted: Callable[..., bool]) -> Callable[..., bool]:
    """Holds at the n-th call for which `wanted` holds."""
    seen = 0

    def holds(*args: Any, **kwargs: Any) -> bool:
        nonlocal seen
        seen += wanted(*args, **kwargs)
        return seen == n

    return holds


def _is_part(_: Any, path: str, *__: Any) -> bool:
    return path.startswith("pairs/") and "/part-" in path


def _of_pairs(*args: Any, **_: Any) -> bool:
    return any(getattr(a, "name", lambda: "")() == ("kale", "pairs") for a in args if isinstance(a, Table))


def _new_metadata(metadata: Any, **_: Any) -> bool:
    return "kale.committed.2026-11-01" in metadata.properties and metadata.location.endswith("pairs")


def _around_a_part(number: int, after: bool = False) -> None:
    for storage in (FolderStorage, S3Storage):
        kill_at(storage, "put", nth(number, _is_part), after)


def _half_a_part() -> None:
    # A folder: the temporary file is written, not yet renamed. S3: the body is sent, the answer never read.
    kill_at(folder.os, "replace", lambda _, target: "/pairs/" in str(target) and "part-00001" in str(target))
    original = S3Storage.put

    def put(self: S3Storage, path: str, data: Any) -> None:
        if _is_part(self, path) and "part-00001" in path:
            self.client.meta.events.register("before-send.s3.PutObject", lambda **_: die())
        original(self, path, data)

    S3Storage.put = put  # type: ignore[method-assign]


POINTS: dict[str, Callable[[], None]] = {
    "before the first part": lambda: _around_a_part(1),
    "with a part half on its way": _half_a_part,
    "after the second part": lambda: _around_a_part(2, after=True),
    "before the commit": lambda: kill_at(running, "commit", lambda *_: True),
    "between the seal and the main table": lambda: kill_at(committing, "swap", lambda _, swap: swap.table == "pairs"),
    "between the main table and the first side table": lambda: kill_at(running, "finish", lambda *_: True),
    "between the side tables": lambda: kill_at(committing, "swap", lambda _, swap: swap.table == "quarantine"),
    "before the catalog hears of it": lambda: kill_at(SqlCatalog, "commit_table", nth(1, _of_pairs)),
    "with the new metadata written": lambda: kill_at(SqlCatalog, "_write_metadata", _new_metadata, after=True),
    "after the catalog has heard": lambda: kill_at(SqlCatalog, "commit_table", nth(1, _of_pairs), after=True),
    "before the ledger is folded": lambda: kill_at(ledger, "fold_ledger", lambda *_: True),
}


def main(point: str, keys: str, rows: str, salt: str, *sets: str) -> None:
    """Run the step on each key, with a death prepared at the named point."""
    lake, settings = lake_of(list(sets))
    if point:
        POINTS[point]()
    for key in keys.split(","):
        execute(Run(Numbers(int(rows), salt), lake, settings, key))


if __name__ == "__main__":
    main(*sys.argv[1:])
