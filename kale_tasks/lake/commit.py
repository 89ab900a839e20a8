"""Swaps the files of one partition in one Iceberg transaction, or finds a good reason not to."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
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
from kale_tasks.lake.tables import COMMITTED, Committed, Lake, committed_in

_TRIES = 60


@dataclass(frozen=True)
class Swap:
    """A wish: these files shall be the rows of this partition, if it is still as `base` saw it."""

    table: str
    key: str
    slice: Mapping[str, Any]
    step: str
    paths: Sequence[str] | None  # None: the files stay as they are, only what they are called changes
    base: str | None
    new: Committed
    keep: bool = False  # add to what stands instead of replacing it (registries and ledgers)
    rewrites: str | None = None  # the content that this takes the place of: the same run with fewer rows
    note: str = ""  # for those who read the history


def swap(lake: Lake, wish: Swap) -> bool:
    """Carry out a swap; False if that very run stands there already. Racers of other partitions never disturb it."""
    added: list[IcebergFile] | None = None
    for attempt in range(_TRIES):
        table = lake.table(wish.table)
        current = committed_in(table, wish.key, wish.slice)
        if current and current.fingerprint == wish.new.fingerprint and wish.rewrites is None:
            return False
        moved = wish.rewrites is not None and (current is None or current.content != wish.rewrites)
        if moved or (current.fingerprint if current else None) != wish.base:
            raise Conflict(
                f"{Partition.of(wish.table, wish.key, wish.slice)} was committed by another run since this one "
                f"planned. Its work is kept; run the step again to build on what stands now."
            )
        added = added or _data_files(lake, table, wish.paths or ())
        try:
            answered(lambda t=table, a=added: _replace(lake, t, wish, a), lake.catalog_uri)  # type: ignore[misc]
            return True
        except CommitFailedException:
            time.sleep(random.uniform(0, min(2.0, 0.02 * 2**attempt)))
    raise Conflict(f"{wish.table} is so busy that {_TRIES} tries to commit failed. Run the step again.")


def _data_files(lake: Lake, table: Table, paths: Sequence[str]) -> list[IcebergFile]:
    # The files of a run are alike: what follows from the table alone is found out once, not for each of them.
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


def _replace(lake: Lake, table: Table, wish: Swap, added: Sequence[IcebergFile]) -> None:
    name = COMMITTED + Partition.of(wish.table, wish.key, wish.slice).name
    if wish.paths is None:
        with table.transaction() as change:
            change.set_properties({name: wish.new.as_property()})
        return
    removed = [] if wish.keep or table.current_snapshot() is None else _standing_files(table, wish)
    with table.transaction() as change:
        producer = change.update_snapshot(snapshot_properties=_summary(wish)).overwrite()
        new = replace(wish.new, snapshot_id=producer.snapshot_id, at=datetime.now(UTC).isoformat(timespec="seconds"))
        change.set_properties({name: new.as_property()})
        with producer:
            for file in removed:
                producer.delete_data_file(file)
            for file in added:
                producer.append_data_file(file)


def _standing_files(table: Table, wish: Swap) -> list[IcebergFile]:
    scan = table.scan(row_filter=partition_filter(wish.key, wish.slice))
    return [task.file for task in scan.plan_files()]


def _summary(wish: Swap) -> dict[str, str]:
    new = wish.new
    return {
        "kale.step": wish.step,
        "kale.key": wish.key,
        "kale.fingerprint": new.fingerprint,
        "kale.counts": json.dumps(
            {"in": new.rows_in, "kept": new.rows, "dropped": dict(new.dropped), "quarantined": new.quarantined}
        ),
        "kale.inputs": json.dumps(dict(new.inputs), sort_keys=True),
        **({"kale.note": wish.note} if wish.note else {}),
    }
