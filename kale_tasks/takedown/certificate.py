"""Ends a takedown: deletes old releases, snapshots and files, searches every file, and writes a certificate."""

import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq

from kale_tasks.errors import BadData, Conflict, KaleError
from kale_tasks.lake import maintain
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.lake.tombstones import FOLDER, digest
from kale_tasks.models import students as registry
from kale_tasks.progress import Progress
from kale_tasks.release import built as release
from kale_tasks.release.registry import open_target
from kale_tasks.release.retention import drop_versions
from kale_tasks.release.targets.base import Removal
from kale_tasks.runner.leftovers import delete_leftovers, leftovers
from kale_tasks.runner.rewrite_files import named_if_unreadable
from kale_tasks.settings.model import Settings
from kale_tasks.takedown.reports import UID, delete_reports
from kale_tasks.takedown.sweep import rewritten_steps, sweep

_BLOCK = 1 << 24


def finish(lake: Lake, settings: Settings, record: Mapping[str, Any], *, now: bool = False) -> dict[str, Any]:
    """Delete what only readers of old snapshots need, and certify the removal.

    Raises Conflict before the takedown is due, unless `now`, and while a file still contains a removed uid.
    """
    if not now and datetime.now(UTC) < datetime.fromisoformat(record["due"]):
        raise Conflict(
            f"Takedown {record['name']} is due on {record['due']}, so that readers of old releases can finish. "
            f"Use --now to end it at once."
        )
    removed = {uid for known in record.get("keys", {}).values() for uid in known["digests"]}
    released = _files_to_delete(lake, record, removed)
    withdrawn, published = _withdraw(lake, settings, set(record.get("keys", {})), released)
    done = datetime.fromisoformat(record["done"]) + timedelta(seconds=1)  # it has no fractions
    maintain.expire(lake, datetime.now(UTC) - done)
    replaced = [path for known in record.get("keys", {}).values() for path in known["replaced"]]
    for path in (*replaced, *(row["path"] for row in released)):
        lake.storage.delete(path)
    delete_leftovers(lake, leftovers(lake, timedelta(days=-1)))  # however young: they hold the rows that were merged
    grace = maintain.grace_of(settings)
    while maintain.delete(lake, maintain.orphans(lake, grace), grace):
        pass  # a replaced run goes before the runs that its plan has read
    delete_reports(lake, removed)
    left = traces(lake, removed)
    if left:
        raise Conflict(
            f"{len(left)} files still contain a row that was taken down, such as {left[0]}, which a run wrote "
            f"meanwhile. Repeat the takedown, and end it when they are older than maintenance.run_days."
        )
    return _certificate(lake, record, withdrawn, [*replaced, *(row["path"] for row in released), *published])


def due_takedowns(lake: Lake) -> Iterator[dict[str, Any]]:
    """Yield the record of each takedown whose time is over and that has no certificate."""
    names = sorted({entry.path.split("/")[1] for entry in lake.storage.entries(FOLDER)})
    for name in names:
        try:
            record = dict(json.loads(lake.storage.read(f"{FOLDER}/{name}/record.json")))
        except FileNotFoundError:
            continue
        is_over = "due" in record and datetime.now(UTC) >= datetime.fromisoformat(record["due"])
        if is_over and not lake.storage.exists(certificate_path(name)):
            yield record


def end_due(lake: Lake, settings: Settings, progress: Progress) -> Mapping[str, str]:
    """End every takedown that is due. Returns what keeps each from ending, by name; empty if it has ended."""
    found = {}
    for record in list(due_takedowns(lake)):
        try:
            finish(lake, settings, sweep(lake, settings, record, rewritten_steps(lake), progress))
            found[record["name"]] = ""
        except KaleError as error:  # the others have a deadline, too
            found[record["name"]] = str(error)
    return found


def certificate_path(name: str) -> str:
    """Return the path of a takedown's certificate, relative to the warehouse."""
    return f"{FOLDER}/{name}/certificate.json"


def traces(lake: Lake, removed: set[str]) -> list[str]:
    """Return every file of the warehouse, of whatever kind, that contains a uid with one of these digests."""
    with ThreadPoolExecutor(4) as pool:
        paths = [entry.path for entry in lake.storage.entries("")]
        found = pool.map(lambda path: any(digest("uid", uid) in removed for uid in _uids(lake, path)), paths)
        return [path for path, hit in zip(paths, found, strict=True) if hit]


def _uids(lake: Lake, path: str) -> Iterator[str]:
    """Yield the uids in a file; nothing if the file was deleted meanwhile."""
    try:
        with named_if_unreadable(path):
            yield from _uids_in(lake, path)
    except BadData:
        if lake.storage.exists(path):
            raise


def _uids_in(lake: Lake, path: str) -> Iterator[str]:
    if path.endswith(".parquet"):
        with lake.storage.arrow.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            if "uid" in parquet.schema_arrow.names:
                for batch in parquet.iter_batches(columns=["uid"]):
                    yield from batch["uid"].to_pylist()
    elif path.endswith(".tar"):
        with lake.storage.arrow.open_input_file(path) as file, tarfile.open(fileobj=file) as tar:
            yield from (m.name.rpartition("/")[2].partition(".")[0] for m in tar)
    else:
        for start in itertools.count(0, _BLOCK):  # blocks overlap by more than the length of a uid
            block = lake.storage.read(path, start, _BLOCK + 40)
            yield from (match.decode() for match in UID.findall(block))
            if len(block) < _BLOCK:
                break


def _files_to_delete(lake: Lake, record: Mapping[str, Any], removed: set[str]) -> list[dict[str, Any]]:
    """Return the released files that contain a removed row, with all files of the same shards."""
    sources = set(record.get("keys", {}))
    rows = [row for row in lake.arrow("releases").to_pylist() if row["source"] in sources]
    hit: dict[str, bool] = {}
    for row in rows:
        if row["format"] in ("captions", "holdout") and not hit.get(row["cut"]):
            hit[row["cut"]] = any(digest("uid", uid) in removed for uid in _uids(lake, row["path"]))
    return [row for row in rows if hit.get(row["cut"])]


def _withdraw(
    lake: Lake, settings: Settings, keys: set[str], files: list[dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """Remove every release with one of these files from target and lake; Conflict if the newest one has any.

    Returns the releases, and what the target had of them and of older ones that the lake no longer has.
    """
    versions = {row["version"] for row in files}
    if versions and release.read(lake, newest := lake.keys("releases")[-1]).version in versions:
        raise Conflict(
            f"The release of {newest} still contains rows that were taken down. Run release and publish for it first."
        )
    published: list[str] = []
    if keys and settings.publish.target:
        known = {row["sha256"] for row in lake.arrow("releases", columns=["sha256"]).to_pylist()}
        removal = Removal({row["sha256"] for row in files}, known, keys)
        published = open_target(settings.publish.target, settings).forget(removal)
    for key in sorted({row["key"] for row in files}):
        drop_versions(lake, key, lambda version: version in versions)
    return sorted(versions), published


def _learnt(student: registry.Student, keys: Mapping[str, Any]) -> bool:
    """Whether a student was trained on the very captions, by content, from which rows were removed."""
    return any(
        content in keys[key].get("lessons", {}).get(student.recipe, ())
        for key, content in student.parents.items()
        if key in keys
    )


def _certificate(lake: Lake, record: Mapping[str, Any], withdrawn: list[str], deleted: list[str]) -> dict[str, Any]:
    keys: Mapping[str, Any] = record.get("keys", {})
    students = [student for student in registry.versions(lake) if not keys.keys().isdisjoint(student.parents)]
    text = {
        "takedown": record["name"],
        "requested": record["began"],
        "removed_from_tables": record["done"],
        "ended": utc_now(),
        "rows": {key: known["rows"] for key, known in keys.items()},
        "sha256_of_uids": sorted({uid for known in keys.values() for uid in known["digests"]}),
        "releases_withdrawn": withdrawn,
        "files_deleted": sorted(deleted),
        "landing_shards_to_clean_yourself": sorted({s for known in keys.values() for s in known["adopted"]}),
        "students_trained_on_these_keys": sorted(student.version for student in students),
        "students_that_learnt_from_these_rows": sorted(s.version for s in students if _learnt(s, keys)),
        "files_with_a_trace": 0,
    }
    lake.storage.put(certificate_path(record["name"]), json.dumps(text, indent=1).encode())
    return text
