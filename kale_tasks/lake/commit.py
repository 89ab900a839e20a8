"""Replaces the files of one partition in one Iceberg transaction, if nobody else committed to it meanwhile."""

import json
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.table.update import RemoveSnapshotsUpdate

from kale_tasks.errors import Conflict
from kale_tasks.lake.catalog import answered
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.manifests import overwrite
from kale_tasks.lake.partition import Partition, partition_filter
from kale_tasks.lake.tables import COMMITTED, Committed, Lake
from kale_tasks.lake.times import utc_now

_TRIES = 60
_LONGEST_PAUSE = 2.0  # seconds between two tries
# If the answer to a commit was lost, the next try sees what came of it.
_REFUSED = (CommitFailedException, CommitStateUnknownException)
_SNAPSHOTS = 500  # kept of a table, beside the new one: every commit writes the list of all of them
_EPOCH = "kale.epoch"
_T = TypeVar("_T")


class Moved(Conflict):
    """The partition or the epoch of its table changed after they had been read."""


def retry_moved(attempt: Callable[[], _T], tries: int = 5) -> _T:
    """Return what an attempt returns that reads the lake and changes it; repeat it while others commit in between."""
    for _ in range(tries - 1):
        with suppress(Moved):
            return attempt()
    return attempt()


@dataclass(frozen=True)
class Swap:
    """Request to replace a partition's files if nothing was committed to it, and nothing taken away, since `base`."""

    table: str
    key: str
    slice: Mapping[str, Any]
    step: str
    paths: Sequence[str]
    base: Committed | None  # as it was read before everything that the request relies on
    new: Committed
    keep: bool = False  # add the files to the partition instead of replacing it (registries and ledgers)
    epoch: str | None = None  # of the table, read together with `base`; None: takedowns do not matter
    note: str = ""  # a remark for readers of the table's history


def swap(lake: Lake, request: Swap) -> Committed:
    """Carry out a request and return what is recorded now.

    Concurrent commits to other partitions are retried. Raises Moved if this partition or the epoch changed.
    """
    new = replace(request.new, commit=uuid.uuid4().hex[:12])
    new = new if new.origin else replace(new, origin=new.commit)
    added: list[IcebergFile] | None = None
    for table in (tries := _Tries(lake, request.table)):
        current = lake.committed_at(table, request.table, request.key, request.slice)
        if current and current.commit == new.commit:
            return current  # the answer to an earlier try was lost
        if (current and current.commit) != (request.base and request.base.commit):
            raise Moved(
                f"Another run committed {Partition.of(request.table, request.key, request.slice)} since this one "
                f"planned. Its work is kept; run the step again to build on the current rows."
            )
        if request.epoch is not None and epoch_in(table) != request.epoch:
            raise Moved("Rows were taken down or files were deleted at the same time. Run the step again.")
        added = added or _data_files(lake, table, request.paths)
        with tries.suppress(table):
            return answered(lambda t=table, a=added: _replace(lake, t, request, new, a), lake.catalog_uri)  # type: ignore[misc]
    raise AssertionError("unreachable")


def discard(lake: Lake, partition: Partition, base: Committed) -> None:
    """Take a partition out of its table. Raises Moved if something else was committed to it since `base`."""
    for table in (tries := _Tries(lake, partition.table)):
        current = lake.committed_at(table, partition.table, partition.key, partition.columns)
        if current is None:
            return
        if current.commit != base.commit:
            raise Moved(f"Another run committed {partition} since it was looked at.")
        with tries.suppress(table):
            answered(lambda t=table: _discard(t, partition), lake.catalog_uri)  # type: ignore[misc]
            return


def expire_snapshots(lake: Lake, name: str, ids: Sequence[int]) -> None:
    """Take snapshots out of the metadata of a table; those that are gone were taken out by somebody else."""
    for table in (tries := _Tries(lake, name)):
        left = [i for i in ids if table.snapshot_by_id(i)]
        if not left:
            return
        with tries.suppress(table):
            answered(lambda t=table, i=left: t.maintenance.expire_snapshots().by_ids(i).commit(), lake.catalog_uri)  # type: ignore[misc]
            return


def move_epoch(lake: Lake, names: Iterable[str]) -> None:
    """Change the epoch of tables, so that commits are refused that have read the lake before this call.

    Each table gets a snapshot without a change: catalogs compare the snapshot of a commit with the current one, and
    not the properties. A commit that has compared the epoch and stalls before its last step is refused by that.
    """
    for name in names:
        _move_epoch(lake, name)


def _move_epoch(lake: Lake, name: str) -> None:
    for table in (tries := _Tries(lake, name)):
        with tries.suppress(table):
            answered(lambda t=table: _new_epoch(t), lake.catalog_uri)  # type: ignore[misc]
            return


class _Tries:
    """A table as it is now for each try of a commit, in turns with other processes of this machine.

    Each pause is at random up to the time of a try, then twice and four times that. A try writes the metadata of the
    whole table, which takes longer the more keys there are; who comes back before another has finished is refused
    again. The turn ends with the loop.
    """

    def __init__(self, lake: Lake, name: str) -> None:
        self._lake, self._name = lake, name
        self._failure: Exception | None = None  # the last that a change of the table need not explain

    def __iter__(self) -> Iterator[Table]:
        for number in range(_TRIES):
            with self._lake.storage.turn(self._name):
                began = time.monotonic()
                yield self._lake.table(self._name)
                took = time.monotonic() - began
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, took * 2**number)))
        also = f" One of them said {type(self._failure).__name__}: {self._failure}." if self._failure else ""
        raise Conflict(
            f"{_TRIES} attempts to commit to {self._name} failed, others commit to it too.{also} Try again."
        ) from self._failure

    @contextmanager
    def suppress(self, table: Table) -> Iterator[None]:
        """Suppress what a commit raises because others have changed the table since it was read: the loop goes on.

        The catalog refuses it; or, if this process was stopped for long, maintenance has deleted metadata that it reads
        (FileNotFoundError) or has expired the snapshots that it expires (ValueError).
        """
        try:
            yield
        except _REFUSED:
            pass
        except (FileNotFoundError, ValueError) as error:
            self._failure = error
            if self._lake.table(self._name).metadata_location == table.metadata_location:
                with reading(self._name):
                    raise error


def read_base(lake: Lake, partition: Partition) -> tuple[Committed | None, str]:
    """Return what is committed for a partition and the epoch of its table, from one version of the table."""
    table = lake.table(partition.table)
    return lake.committed_at(table, partition.table, partition.key, partition.columns), epoch_in(table)


def epoch_in(table: Table) -> str:
    """The epoch of this very version of a table; it changes when rows or files are taken away."""
    return str(table.properties.get(_EPOCH, ""))


def _data_files(lake: Lake, table: Table, paths: Sequence[str]) -> list[IcebergFile]:
    # Computed once for all files of the run, because it depends only on the table.
    collected = compute_statistics_plan(table.schema(), table.properties)
    columns = parquet_path_to_id_mapping(table.schema())

    def described(path: str) -> IcebergFile:
        with lake.storage.arrow.open_input_file(path) as source:
            footer, size = pq.read_metadata(source), source.size()
        statistics = data_file_statistics_from_parquet_metadata(footer, collected, columns)
        return IcebergFile.from_args(
            content=DataFileContent.DATA,
            file_path=lake.storage.uri(path),
            file_format=FileFormat.PARQUET,
            file_size_in_bytes=size,
            partition=statistics.partition(table.spec(), table.schema()),
            **statistics.to_serialized_dict(),
        )

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(described, paths))


def _replace(lake: Lake, table: Table, request: Swap, new: Committed, added: Sequence[IcebergFile]) -> Committed:
    name = COMMITTED + Partition.of(request.table, request.key, request.slice).name
    keeps = request.keep or table.current_snapshot() is None
    removed = [] if keeps else _files_of(table, request.key, request.slice)
    with table.transaction() as change:
        producer = overwrite(change, _summary(request))
        new = replace(new, snapshot_id=producer.snapshot_id, at=utc_now())
        change.set_properties({name: new.as_property()})
        with producer:
            for file in removed:
                producer.delete_data_file(file)
            for file in added:
                producer.append_data_file(file)
        if old := [snapshot.snapshot_id for snapshot in table.snapshots()[:-_SNAPSHOTS]]:
            change._apply((RemoveSnapshotsUpdate(snapshot_ids=old),))
    return new


def _discard(table: Table, partition: Partition) -> None:
    files = _files_of(table, partition.key, partition.columns)
    with table.transaction() as change:
        change.remove_properties(COMMITTED + partition.name)
        summary = {"kale.key": partition.key, "kale.note": f"No longer used: {partition}."}
        with overwrite(change, summary) as producer:
            for file in files:
                producer.delete_data_file(file)


def _new_epoch(table: Table) -> None:
    with table.transaction() as change:
        change.set_properties({_EPOCH: uuid.uuid4().hex[:12]})
        with change.update_snapshot(snapshot_properties={"kale.note": "Rows or files are taken away."}).fast_append():
            pass


def _files_of(table: Table, key: str, slice_: Mapping[str, Any]) -> list[IcebergFile]:
    scan = table.scan(row_filter=partition_filter(key, slice_))
    return [task.file for task in scan.plan_files()]


def _summary(request: Swap) -> dict[str, str]:
    new = request.new
    return {
        "kale.step": request.step,
        "kale.key": request.key,
        "kale.fingerprint": new.fingerprint,
        "kale.counts": json.dumps(
            {"in": new.rows_in, "kept": new.rows, "dropped": dict(new.dropped), "quarantined": new.quarantined}
        ),
        **({"kale.note": request.note} if request.note else {}),
    }
