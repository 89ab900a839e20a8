"""Housekeeping: lets old snapshots expire and deletes files that nothing uses any more."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table

from kale_tasks.lake.catalog import answered
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake


def expire(lake: Lake, older_than: timedelta, *, dry_run: bool = False) -> dict[str, list[int]]:
    """Forget snapshots older than that, table by table; the current one always stays."""
    before = datetime.now(UTC) - older_than
    expired = {}
    for name in lake.tables():
        table = lake.table(name)
        old = [s.snapshot_id for s in table.snapshots() if s.timestamp_ms < before.timestamp() * 1000]
        old = [i for i in old if table.current_snapshot() and i != table.current_snapshot().snapshot_id]  # type: ignore[union-attr]
        if old and not dry_run:
            answered(lambda t=table, ids=old: t.maintenance.expire_snapshots().by_ids(ids).commit())  # type: ignore[misc]
        if old:
            expired[name] = old
    return expired


def orphans(lake: Lake, grace: timedelta) -> Iterator[Entry]:
    """Files of runs and metadata that nothing leads to any more and that nobody can still be writing."""
    before = datetime.now(UTC) - grace
    for name in TABLES:
        # List first, ask what is used afterwards: a commit in between can only turn an orphan into a used file.
        candidates = [
            e
            for e in lake.storage.entries(name)
            if e.modified < before and e.path.startswith((f"{name}/key=", f"{name}/metadata/"))
        ]
        if not candidates:
            continue
        used, runs = _used(lake, name)
        yield from (e for e in candidates if e.path not in used and (_half_written(e.path) or _run(e.path) not in runs))


def delete(lake: Lake, entries: Iterable[Entry]) -> None:
    """Delete unused files."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda entry: lake.storage.delete(entry.path), entries))


def _used(lake: Lake, name: str) -> tuple[set[str], set[str]]:
    # Files that metadata leads to, and the run folders whose side files (shards, plans) are in use with them.
    used = {
        lake.storage.relative(path)
        for path in _referenced(lake.table(name))
        if path.startswith(f"{lake.storage.root}/")
    }
    runs = {f"{name}/key={p.key}/{c.fingerprint}" for p, c in lake.partitions(name).items()}
    runs |= {_run(path) for path in used}
    if name == "images":  # a redrive keeps the shards of the run before it
        for batch in lake.batches(name, columns=["shard"]):
            runs |= {_run(shard) for shard in batch["shard"].unique().to_pylist() if shard}
    return used, runs


def _half_written(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".tmp-")


def _run(path: str) -> str:
    # A run's folder is the first three names of a path: table, key, fingerprint.
    return "/".join(path.split("/")[:3]) if "/key=" in path else path


def _referenced(table: Table) -> set[str]:
    """Every address that the table's metadata can still lead a reader to."""
    known = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.snapshots():
        known.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in known:
                continue  # snapshots share most of their manifests
            known.add(manifest.manifest_path)
            known.update(e.data_file.file_path for e in manifest.fetch_manifest_entry(table.io))
    return known
