"""Replaces the files of one partition in one Iceberg transaction, if nobody else committed to it meanwhile."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table import Table

from kale_tasks.errors import Conflict
from kale_tasks.lake.catalog import answered
from kale_tasks.lake.partition import Partition, partition_filter
from kale_tasks.lake.tables import COMMITTED, Committed, Lake
from kale_tasks.lake.times import utc_now

_TRIES = 60


@dataclass(frozen=True)
class Swap:
    """Request to replace a partition's files if its current fingerprint is still `base`."""

    table: str
    key: str
    slice: Mapping[str, Any]
    step: str
    paths: Sequence[str] | None  # None: keep the files and change only the recorded commit
    base: str | None
    new: Committed
    keep: bool = False  # add the files to the partition instead of replacing it (registries and ledgers)
    rewrites: str | None = None  # the content that is replaced when the same run is committed with fewer rows
    note: str = ""  # a remark for readers of the table's history


def swap(lake: Lake, request: Swap) -> bool:
    """Commit a request; return False if the same run is committed already.

    Concurrent commits to other partitions are retried. Raises Conflict if another run committed to this partition.
    """
    added: list[IcebergFile] | None = None
    for attempt in range(_TRIES):
        table = lake.table(request.table)
        current = lake.committed_at(table, request.table, request.key, request.slice)
        if current and current.fingerprint == request.new.fingerprint and request.rewrites is None:
            return False
        moved = request.rewrites is not None and (current is None or current.content != request.rewrites)
        if moved or (current.fingerprint if current else None) != request.base:
            raise Conflict(
                f"Another run committed {Partition.of(request.table, request.key, request.slice)} since this one "
                f"planned. Its work is kept; run the step again to build on the current rows."
            )
        added = added or _data_files(lake, table, request.paths or ())
        try:
            answered(lambda t=table, a=added: _replace(lake, t, request, a), lake.catalog_uri)  # type: ignore[misc]
            return True
        except CommitFailedException:
            time.sleep(random.uniform(0, min(2.0, 0.02 * 2**attempt)))
    raise Conflict(
        f"{_TRIES} attempts to commit to {request.table} failed, others commit to it too. Run the step again."
    )


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


def _replace(lake: Lake, table: Table, request: Swap, added: Sequence[IcebergFile]) -> None:
    name = COMMITTED + Partition.of(request.table, request.key, request.slice).name
    if request.paths is None:
        with table.transaction() as change:
            change.set_properties({name: request.new.as_property()})
        return
    removed = [] if request.keep or table.current_snapshot() is None else _current_files(table, request)
    with table.transaction() as change:
        producer = change.update_snapshot(snapshot_properties=_summary(request)).overwrite()
        new = replace(request.new, snapshot_id=producer.snapshot_id, at=utc_now())
        change.set_properties({name: new.as_property()})
        with producer:
            for file in removed:
                producer.delete_data_file(file)
            for file in added:
                producer.append_data_file(file)


def _current_files(table: Table, request: Swap) -> list[IcebergFile]:
    scan = table.scan(row_filter=partition_filter(request.key, request.slice))
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
        "kale.inputs": json.dumps(dict(new.inputs), sort_keys=True),
        **({"kale.note": request.note} if request.note else {}),
    }
