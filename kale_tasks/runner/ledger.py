"""The ledger: a line for every work and commit, with what it took; files at once, rows of `runs` at commit."""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from kale_tasks.lake import parts
from kale_tasks.lake.commit import Swap, retry_moved, swap
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun


def write_line(run: Run, verb: str, metas: Sequence[PartMeta], chunk: int | None = None) -> None:
    """Put one ledger line for a work (of one chunk) or a commit (of all)."""
    attempt = int(os.environ.get("KALE_ATTEMPT", "1"))
    dropped: Counter[str] = Counter()
    spent, measured = run.meter.lap()
    figures = figures_of(measured, metas)
    for meta in metas:
        dropped.update(meta.dropped)
    line = {
        "key": run.key,
        "step": run.step.name,
        "fingerprint": run.fingerprint,
        "verb": verb,
        "chunk": chunk,
        "attempt": attempt,
        "rows_in": sum(m.rows_in for m in metas),
        "kept": sum(m.kept for m in metas),
        "dropped": json.dumps(dropped, sort_keys=True),
        "quarantined": sum(m.quarantined for m in metas),
        "metrics": json.dumps(figures, sort_keys=True),
        "inputs": json.dumps(run.inputs, sort_keys=True),
        "config": json.dumps(run.config, sort_keys=True, default=str),
        "code": run.version,
        "bytes": int(figures.get("bytes", 0)),
        **spent,
    }
    rows = pa.Table.from_pylist([line], schema=TABLES["runs"].arrow)
    folder = run.writer.folder("runs")
    number = time.time_ns()
    parts.write(run.lake.storage, folder, PartMeta(run.fingerprint, number, 1, 1), rows)


def figures_of(measured: Mapping[str, float], metas: Sequence[PartMeta]) -> dict[str, float]:
    """Sum up the figures of parts, such as tokens, and those that this process measured, such as cost."""
    figures = dict(measured)
    for meta in metas:
        for name, value in meta.metrics.items():
            figures[name] = figures.get(name, 0) + value
    return figures


def record_commit(run: Run, sealed: SealedRun) -> None:
    """Put the ledger line of a commit, then add all lines of the run to the `runs` table."""
    write_line(run, "commit", [sealed.account()])
    fold_ledger(run)


def fold_ledger(run: Run) -> None:
    """Add the run's ledger lines to the `runs` table."""

    def fold_lines() -> None:
        entries = run.lake.storage.entries(run.writer.folder("runs"))  # maintenance may have deleted some meanwhile
        paths = [entry.path for entry in entries if entry.path.endswith(".parquet")]
        _fold_once(run.lake, run.key, run.step.name, run.fingerprint, paths, "")

    retry_moved(fold_lines)


def fold(lake: Lake, key: str, step: str, fingerprint: str, paths: Sequence[str], note: str = "") -> None:
    """Add ledger files to the `runs` table, except those that were added before."""
    retry_moved(lambda: _fold_once(lake, key, step, fingerprint, paths, note))  # another attempt may add its lines now


def _fold_once(lake: Lake, key: str, step: str, fingerprint: str, paths: Sequence[str], note: str) -> None:
    slice_ = {"step": step}
    committed = lake.committed("runs", key, slice_)
    known = {f.path for f in lake.files("runs", key, slice_)}
    if fresh := [path for path in paths if path not in known]:
        new = Committed(
            fingerprint, content=fingerprint, rows=len(known) + len(fresh), parts=len(fresh), snapshot_id=0, at=""
        )
        swap(lake, Swap("runs", key, slice_, step, fresh, committed, new, keep=True, note=note))
