"""Sealing: fixes the exact files and the account of a run in `run.json`, once all its parts are made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kale_tasks.contract.types import Plan
from kale_tasks.errors import Conflict
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import PartFile, PartMeta
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Committed
from kale_tasks.lake.verdicts import comparison_set
from kale_tasks.runner.merge import DamagedParts, merge
from kale_tasks.runner.receipts import Receipt, withdraw
from kale_tasks.runner.run import Run
from kale_tasks.runner.writer import run_folder
from kale_tasks.threads import map_ahead

_SHOWN = 3  # missing parts named in a message


class SealedRun(BaseModel):
    """A finished run: what made it, its account, and its files by table. Later verbs read nothing else of it."""

    model_config = ConfigDict(frozen=True)

    step: str
    key: str
    slice: dict[str, Any] = {}
    fingerprint: str
    because: tuple[str, ...] = ()
    side_inputs: dict[str, str] = {}  # the run of each, by name; they count through marks, not the fingerprint
    inputs: dict[str, str]
    config: dict[str, Any]
    content: str
    identity: str  # the content before rows were taken down
    parts: int
    rows_in: int
    rows: int
    dropped: dict[str, int]
    quarantined: int
    files: dict[str, list[PartFile]]
    shards: list[str]
    metrics: dict[str, float] = {}  # counts that a rerun repeats, such as tokens
    compared: dict[str, str] = {}  # partitions that its checks compare it with, and the seal id of each
    suite: str | None = None  # of its checks
    folder: str = Field("", exclude=True)  # where its `run.json` is
    seal_id: str = Field("", exclude=True)  # hash of its first `run.json`, which names its verdict

    def paths(self, table: str) -> list[str]:
        """The paths of its files in a table, in row order."""
        return [file.path for file in self.files.get(table, ())]

    def rows_of(self, table: str) -> int:
        """The number of its rows in a table."""
        return sum(file.rows for file in self.files.get(table, ()))

    def record(self) -> Committed:
        """What its table records of it when it is committed."""
        return Committed(
            fingerprint=self.fingerprint,
            content=self.content,
            identity=self.identity,
            rows=self.rows,
            parts=self.parts,
            snapshot_id=0,
            at="",
            rows_in=self.rows_in,
            dropped=self.dropped,
            quarantined=self.quarantined,
            inputs=self.inputs,
            because=self.because,
            seal_id=self.seal_id,
        )

    def account(self) -> PartMeta:
        """The account of all its parts together."""
        return PartMeta(
            self.fingerprint, 0, self.rows_in, self.rows, self.dropped, self.quarantined, metrics=self.metrics
        )

    def snapshot(self, storage: Storage, partition: Partition) -> Snapshot:
        """Open its rows in a table before they are committed."""
        # Without bounds on uids, a lookup by uid reads every file.
        files = tuple(DataFile(file.path, file.rows, "", "") for file in self.files.get(partition.table, ()))
        return Snapshot(storage, partition, self.record(), files)


def read_sealed(storage: Storage, folder: str, revision: str = "") -> SealedRun | None:
    """The sealed run of a folder, or a revision of it without rows that were taken down; None if there is none."""
    try:
        first = storage.read(_path(folder))
        text = storage.read(_path(folder, revision)) if revision else first
    except FileNotFoundError:
        return None
    return _opened(first, text, folder)


def _opened(first: str | bytes, text: str | bytes, folder: str) -> SealedRun:
    return SealedRun.model_validate_json(text).model_copy(update={"folder": folder, "seal_id": short_sha256(first)})


def is_sealed(storage: Storage, folder: str) -> bool:
    """Whether the run of a folder is sealed."""
    return storage.exists(_path(folder))


def read_committed(storage: Storage, table: str, key: str, committed: Committed) -> SealedRun | None:
    """The sealed run that a main table names, in the revision that it names; None if its `run.json` is gone."""
    return read_sealed(storage, run_folder(table, key, committed.fingerprint), committed.revision)


def write_revision(storage: Storage, folder: str, sealed: SealedRun) -> str:
    """Write a sealed run without rows that were taken down beside the first `run.json`; return its name."""
    text = sealed.model_dump_json().encode()
    revision = short_sha256(text.decode(), 16)
    storage.put_if(_path(folder, revision), text, None)
    return revision


def seal(run: Run, plan: Plan) -> SealedRun:
    """Merge the parts and write `run.json`. Sealing again, also by two processes at once, ends in the same file."""
    with ThreadPoolExecutor() as at_once:
        earlier, found = at_once.submit(read_sealed, run.lake.storage, run.folder), at_once.submit(run.receipts)
    if known := earlier.result():
        return known
    wanted = [number for chunk in plan.chunks for number in chunk.numbers]
    try:
        sealed = _sealed(run, _found(run, found.result(), wanted))
    except (DamagedParts, FileNotFoundError) as error:
        # If another process has sealed it meanwhile, maintenance may have deleted its parts since.
        if known := read_sealed(run.lake.storage, run.folder):
            return known
        if isinstance(error, DamagedParts):
            raise _incomplete(run, error.numbers, len(wanted)) from error
        raise
    if run.step.suite:
        compared = comparison_set(run.lake, run.step.partition(run.key), run.settings.quality.drift.keys)
        sealed = sealed.model_copy(update={"compared": compared, "suite": run.step.suite})
    text = sealed.model_dump_json()
    if run.lake.storage.put_if(_path(run.folder), text.encode(), None):
        return _opened(text, text, run.folder)
    return read_sealed(run.lake.storage, run.folder) or sealed


def _found(run: Run, found: Mapping[int, Receipt], wanted: Sequence[int]) -> list[Receipt]:
    """Return the receipts of all planned parts, those that the step makes again now in place of their own."""
    sizes = _sizes(run, found.values())
    intact = {n for n, receipt in found.items() if all(sizes.get(f.path) == f.bytes for f in receipt.files.values())}
    if missing := [number for number in wanted if number not in intact]:
        raise DamagedParts(missing)
    planned = {number: found[number] for number in wanted}
    again = {made.meta.number: made for made in map_ahead(run.writer.store, run.step.finalize(run, planned))}
    return [receipt for _, receipt in sorted((planned | again).items())]


def _incomplete(run: Run, missing: Sequence[int], of: int) -> Conflict:
    for number in missing:  # a receipt of files that are damaged
        withdraw(run.lake.storage, run.folder, number)
    return Conflict(
        f"{run.step.name} {run.key}: {len(missing)} of {of} parts are missing or damaged, such as "
        f"{', '.join(map(str, missing[:_SHOWN]))}. Run the step again: it makes only these."
    )


def _sizes(run: Run, found: Any) -> dict[str, int]:
    tables = {table for receipt in found for table in receipt.files}
    return {e.path: e.size for table in tables for e in run.lake.storage.entries(run.writer.folder(table))}


def _sealed(run: Run, found: Sequence[Receipt]) -> SealedRun:
    dropped: Counter[str] = Counter()
    metrics: Counter[str] = Counter()
    for receipt in found:
        dropped.update(receipt.meta.dropped)
        metrics.update(receipt.meta.metrics)
    tables = sorted({table for receipt in found for table in receipt.files})
    # Of the parts, not of the files: it is the same however parts are merged.
    content = short_sha256("".join(receipt.meta.content for receipt in found))
    return SealedRun(
        step=run.step.name,
        key=run.key,
        slice=dict(run.step.slice),
        fingerprint=run.fingerprint,
        because=run.because,
        side_inputs=run.side_runs,
        inputs=run.inputs,
        config=run.config,
        content=content,
        identity=content,
        parts=len(found),
        rows_in=sum(receipt.meta.rows_in for receipt in found),
        rows=sum(receipt.meta.kept for receipt in found),
        dropped=dict(sorted(dropped.items())),
        quarantined=sum(receipt.meta.quarantined for receipt in found),
        files={table: merge(run.lake.storage, run.writer.folder(table), table, found) for table in tables},
        metrics=dict(sorted(metrics.items())),
        shards=sorted({shard for receipt in found for shard in receipt.shards}),
    )


def _path(folder: str, revision: str = "") -> str:
    return f"{folder}/run-{revision}.json" if revision else f"{folder}/run.json"
