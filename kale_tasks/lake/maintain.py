"""Housekeeping: lets old snapshots expire and deletes files that nothing uses any more."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

from pyiceberg.table import Table

from kale_tasks.lake.commit import expire_snapshots, move_epoch
from kale_tasks.lake.leases import Lease, Renewals, is_lease
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.segments import unused_segments
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import blocked_runs
from kale_tasks.settings.model import Settings

WITHDRAWN = "withdrawn.json"  # in the folder of a run whose files are being deleted, or were
BUDGETS = "budgets"  # folder of what engines have spent: a folder for each run, and for each engine and day


def expire(lake: Lake, older_than: timedelta, *, dry_run: bool = False) -> dict[str, list[int]]:
    """Expire snapshots that were replaced longer ago than that, table by table; the current one always stays."""
    before = datetime.now(UTC) - older_than
    expired = {}
    for name in lake.tables():
        table = lake.table(name)
        ordered = sorted(table.snapshots(), key=lambda snapshot: snapshot.timestamp_ms)
        replaced = ((one.snapshot_id, after.timestamp_ms / 1000) for one, after in pairwise(ordered))
        old = [i for i, at in replaced if at < before.timestamp() and i != table.current_snapshot().snapshot_id]  # type: ignore[union-attr]
        if old and not dry_run:
            expire_snapshots(lake, name, old)
        if old:
            expired[name] = old
    return expired


@dataclass(frozen=True)
class Grace:
    """How long files stay that nothing refers to."""

    files: timedelta  # metadata, and temporary files of interrupted writes
    runs: timedelta  # all files of a run that is not committed, counted from its newest file


def grace_of(settings: Settings) -> Grace:
    """The configured grace."""
    of = settings.maintenance
    return Grace(timedelta(hours=of.grace_hours), timedelta(days=of.run_days))


def orphans(lake: Lake, grace: Grace) -> Iterator[Entry]:
    """Files that nothing refers to any more and that nobody can still be writing.

    A run is one unit in all its tables: while any of its files is young, or any table has it committed, all of them
    stay. A run that waits for a device or a person over a weekend keeps what it has made, and one that died between the
    commits of its tables keeps what the others will need.
    """
    now = datetime.now(UTC)
    # List first, ask what is used afterwards: a commit in between can only turn an orphan into a used file.
    listed = {name: [e for e in lake.storage.entries(name) if _is_ours(name, e.path)] for name in TABLES}
    newest = _newest(entry for entries in listed.values() for entry in entries)
    pinned = _pinned_runs(lake, (e.path for entries in listed.values() for e in entries))
    committed = _committed_runs(lake)
    for name, entries in listed.items():
        candidates = [e for e in entries if _is_old(e, newest, now, grace)]
        if not candidates:
            continue
        used, runs = _used(lake, name)
        unused = (e for e in candidates if e.path not in used and _run_name(e.path) not in pinned)
        yield from (
            e
            for e in unused
            if half_written(e.path) or (_run(e.path) not in runs and _run_name(e.path) not in committed)
        )
    yield from (e for e in unused_segments(lake) if e.modified < now - grace.files)


def old_budgets(lake: Lake, grace: Grace) -> list[Entry]:
    """List the files of what runs and days have spent, where nothing was spent for as long as runs are kept."""
    entries = list(lake.storage.entries(BUDGETS))
    newest: dict[str, datetime] = {}
    for entry in entries:
        folder = entry.path.rpartition("/")[0]
        newest[folder] = max(entry.modified, newest.get(folder, entry.modified))
    before = datetime.now(UTC) - grace.runs
    return [entry for entry in entries if newest[entry.path.rpartition("/")[0]] < before]


def delete(lake: Lake, entries: Iterable[Entry], grace: Grace) -> int:
    """Delete unused files and return their number.

    A run is withdrawn before its files are deleted, and looked at again after that: a process that goes on with it
    either sees that it is withdrawn, or is refused when it commits. Metadata is looked at again after its table was
    changed: a process that wrote it and stalled before its commit is refused, and writes it again.
    """
    groups = {
        folder: [entry.path for entry in group]
        for folder, group in groupby(sorted(entries, key=lambda entry: entry.path), key=lambda e: _run(e.path))
    }
    committed = _committed_runs(lake)
    runs = {
        folder
        for folder, paths in groups.items()
        if "/key=" in folder and _is_unused(lake, folder, paths, grace, committed)
    }
    # A run has files in several tables; its plan and its leases are in the folder of its main table.
    homes = {_run_name(folder): folder for folder, paths in groups.items() if f"{folder}/plan.json" in paths}
    leases = {name: Lease(lake.storage, home, _chunks(lake, home)) for name, home in homes.items() if home in runs}
    held: dict[str, Lease] = {}
    with Renewals() as renewals:
        # Renewed from here on, because what follows can take longer than their term.
        for name, lease in leases.items():
            if not lease.take():
                renewals.add(lease)
                held[name] = lease
        return _delete_groups(lake, groups, runs, homes, held, grace)


def _delete_groups(
    lake: Lake,
    groups: Mapping[str, Sequence[str]],
    runs: Collection[str],
    homes: Mapping[str, str],
    held: Mapping[str, Lease],
    grace: Grace,
) -> int:
    for name in held:
        lake.storage.put(f"{homes[name]}/{WITHDRAWN}", b"{}")
    tables = {path.partition("/")[0] for path in groups if "/key=" not in path}  # with unused metadata
    if changed := tables | {folder.partition("/")[0] for folder in (*runs, *(homes[name] for name in held))}:
        move_epoch(lake, sorted(changed & set(lake.tables())))
    used, committed = {path for name in tables for path in _used(lake, name)[0]}, _committed_runs(lake)
    pinned = _pinned_runs(lake, (entry.path for name in TABLES for entry in lake.storage.entries(name)))
    deleted = 0
    for folder, paths in groups.items():
        name = _run_name(folder)
        if "/key=" not in folder:
            deleted += _delete(lake, [path for path in paths if path not in used])
        elif name in homes and name not in held:
            continue  # somebody works on this run
        elif folder in runs and name not in pinned and _is_unused(lake, folder, paths, grace, committed):
            deleted += _delete(lake, paths, held.get(name), f"{homes.get(name)}/{WITHDRAWN}")
        elif name in held and folder == homes[name]:
            # A new try of this run has begun or committed since it was listed, or a plan has pinned its files.
            lake.storage.delete(f"{folder}/{WITHDRAWN}")
    return deleted


def _delete(lake: Lake, paths: Sequence[str], lease: Lease | None = None, withdrawal: str = "") -> int:
    """Delete files; those of a run while its lease is held and, asked before each, it is still withdrawn."""

    def gone(path: str) -> bool:
        if lease and not (lease.held and lake.storage.exists(withdrawal)):
            return False  # this process was stopped for long, or another maintenance has found that the run is used
        lake.storage.delete(path)
        return True

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(gone, paths)).count(True)


def _chunks(lake: Lake, folder: str) -> list[int]:
    try:
        return [chunk["index"] for chunk in json.loads(lake.storage.read(f"{folder}/plan.json"))["chunks"]]
    except (FileNotFoundError, ValueError):
        return []


def _is_unused(lake: Lake, folder: str, paths: Sequence[str], grace: Grace, committed: Collection[str]) -> bool:
    name = folder.partition("/")[0]
    current = lake.partitions(name)
    if _run_name(folder) in committed or any(c.fingerprint == folder.rpartition("/")[2] for c in current.values()):
        return all(half_written(path) for path in paths)
    young = datetime.now(UTC) - grace.files
    key = folder.split("/")[1].removeprefix("key=")
    if any(p.key == key and datetime.fromisoformat(c.at) > young for p, c in current.items()):
        return False  # the run may have been replaced just now, and somebody may plan with its rows
    entries = [entry for table in TABLES for entry in lake.storage.entries(f"{table}/{_run_name(folder)}")]
    # Without what maintenance itself writes there.
    entries = [entry for entry in entries if not (entry.path.endswith(f"/{WITHDRAWN}") or is_lease(entry.path))]
    newest = _newest(entries)
    return all(_is_old(entry, newest, datetime.now(UTC), grace) for entry in entries if entry.path in paths)


def _committed_runs(lake: Lake) -> set[str]:
    """Return the names of runs that any table has committed, but the ledger, which has those that failed as well."""
    names = (name for name in lake.tables() if name != "runs")
    return {f"key={p.key}/{committed.fingerprint}" for name in names for p, committed in lake.partitions(name).items()}


def _pinned_runs(lake: Lake, paths: Iterable[str]) -> set[str]:
    """Return the names of runs that wait for a person, or whose files a plan that is not committed yet reads."""
    found = {_run_name(blocked.folder) for blocked in blocked_runs(lake).values()}
    committed = {run for name in lake.tables() for run in _used(lake, name)[1]}  # older releases among them
    for path in paths:
        is_plan = path.endswith("/plan.json") and _run(path) not in committed
        if is_plan and not lake.storage.exists(f"{_run(path)}/{WITHDRAWN}"):
            found.update(_runs_of_plan(lake, path))
    return found


def _runs_of_plan(lake: Lake, path: str) -> set[str]:
    try:
        plan = json.loads(lake.storage.read(path))
    except (FileNotFoundError, ValueError):
        return set()
    former = plan.get("former")
    pins = (*plan.get("pins", {}).values(), *([former] if former else ()))
    return {_run_name(file["path"]) for pin in pins for file in pin["files"]}


def _is_old(entry: Entry, newest: Mapping[str, datetime], now: datetime, grace: Grace) -> bool:
    if "/key=" not in entry.path or half_written(entry.path):
        return entry.modified < now - grace.files
    return newest[_run_name(entry.path)] < now - grace.runs


def _newest(entries: Iterable[Entry]) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    for entry in entries:
        name = _run_name(entry.path)
        newest[name] = max(entry.modified, newest.get(name, entry.modified))
    return newest


def _is_ours(table: str, path: str) -> bool:
    return path.startswith((f"{table}/key=", f"{table}/metadata/")) and not path.endswith(f"/{WITHDRAWN}")


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
        for partition, committed in lake.partitions(name).items():
            runs |= _runs_of_shards(lake, partition.key, committed)
    return used, runs


def _runs_of_shards(lake: Lake, key: str, committed: Committed) -> set[str]:
    """Return the runs to which the image shards of a key belong, from a file that the first look at its rows leaves."""
    # By the sealed run: a fingerprint that is made again can keep other shards.
    sealed = committed.revision or committed.seal_id
    path = f"images/key={key}/{committed.fingerprint}/shards-of-{sealed}.json"
    try:
        return set(json.loads(lake.storage.read(path)))
    except (FileNotFoundError, ValueError):
        pass
    found: set[str] = set()
    for batch in lake.batches("images", key, ["shard"]):
        found |= {_run(shard) for shard in batch["shard"].unique().to_pylist() if shard}
    if lake.committed("images", key) == committed:  # or these rows may be those of another run
        lake.storage.put(path, json.dumps(sorted(found)).encode())
    return found


def half_written(path: str) -> bool:
    """Whether a file of a folder was being written when its writer ended."""
    return path.rpartition("/")[2].startswith(".tmp-")


def _run(path: str) -> str:
    # A run's folder is the first three names of a path: table, key, fingerprint.
    return "/".join(path.split("/")[:3]) if "/key=" in path else path


def _run_name(path: str) -> str:
    # Key and fingerprint: the same in every table that the run writes to.
    return _run(path).partition("/")[2]


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
