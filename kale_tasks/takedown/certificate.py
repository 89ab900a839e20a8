"""Ends a takedown: old releases, snapshots and files go, every live file is looked through, a certificate says so."""

import itertools
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq

from kale_tasks.errors import Conflict
from kale_tasks.lake import maintain
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import FOLDER, digest
from kale_tasks.models import students as registry
from kale_tasks.release import built as release
from kale_tasks.release.registry import open_target
from kale_tasks.settings.model import Settings

_UID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_BLOCK = 1 << 24


def finish(lake: Lake, settings: Settings, record: Mapping[str, Any], *, now: bool = False) -> dict[str, Any]:
    """Delete what only old readers could still need, and certify it; before its time only if that is asked for."""
    if not now and datetime.now(UTC) < datetime.fromisoformat(record["due"]):
        raise Conflict(
            f"Takedown {record['name']} is due on {record['due']}: old readers have until then. --now ends it at once."
        )
    gone = {uid for known in record.get("keys", {}).values() for uid in known["digests"]}
    doomed = _doomed(lake, record, gone)
    withdrawn = _withdraw(lake, settings, doomed)
    maintain.expire(lake, datetime.now(UTC) - datetime.fromisoformat(record["done"]))
    replaced = [path for known in record.get("keys", {}).values() for path in known["replaced"]]
    for path in (*replaced, *(row["path"] for row in doomed)):
        lake.storage.delete(path)
    grace = maintain.grace_of(settings)
    maintain.delete(lake, maintain.orphans(lake, grace), grace)
    left = traces(lake, gone)
    if left:
        raise Conflict(
            f"{len(left)} files still hold what was taken down, such as {left[0]}: somebody wrote them meanwhile. "
            f"Run the takedown again, and end it when they are older than maintenance.run_days."
        )
    return _certificate(lake, record, withdrawn, [*replaced, *(row["path"] for row in doomed)])


def certificate_path(name: str) -> str:
    """Where the certificate of a takedown stands, relative to the warehouse."""
    return f"{FOLDER}/{name}/certificate.json"


def traces(lake: Lake, gone: set[str]) -> list[str]:
    """Every file of the warehouse that names a uid with one of these digests, whatever kind of file it is."""
    with ThreadPoolExecutor(4) as pool:
        paths = [entry.path for entry in lake.storage.entries("")]
        found = pool.map(lambda path: any(digest("uid", uid) in gone for uid in _uids(lake, path)), paths)
        return [path for path, hit in zip(paths, found, strict=True) if hit]


def _uids(lake: Lake, path: str) -> Iterator[str]:
    try:
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
            for start in itertools.count(0, _BLOCK):  # blocks overlap by more than a uid
                block = lake.storage.read(path, start, _BLOCK + 40)
                yield from (match.decode() for match in _UID.findall(block))
                if len(block) < _BLOCK:
                    break
    except FileNotFoundError:
        return  # gone while we looked: no trace


def _doomed(lake: Lake, record: Mapping[str, Any], gone: set[str]) -> list[dict[str, Any]]:
    """Released files that hold a removed row, with all that were cut from the same captions."""
    sources = set(record.get("keys", {}))
    rows = [row for row in lake.arrow("releases").to_pylist() if row["source"] in sources]
    hit: dict[str, bool] = {}
    for row in rows:
        if row["format"] == "captions" and not hit.get(row["cut"]):
            hit[row["cut"]] = any(digest("uid", uid) in gone for uid in _uids(lake, row["path"]))
    return [row for row in rows if hit.get(row["cut"])]


def _withdraw(lake: Lake, settings: Settings, doomed: list[dict[str, Any]]) -> list[str]:
    """Take every release with such a file off the target and out of the lake; the newest must be clean already."""
    versions = {row["version"] for row in doomed}
    if not versions:
        return []
    newest = lake.keys("releases")[-1]
    if release.read(lake, newest).version in versions:
        raise Conflict(f"The release of {newest} still holds what is to go. Run release for it, and publish it, first.")
    if settings.publish.target:
        open_target(settings.publish.target, settings).forget({row["sha256"] for row in doomed})
    for key in sorted({row["key"] for row in doomed}):
        _forget(lake, key, lambda version: version in versions)
    return sorted(versions)


def _forget(lake: Lake, key: str, old: Callable[[str], bool]) -> None:
    standing = lake.committed("releases", key)
    assert standing is not None
    kept, rows = [], 0
    for file in lake.files("releases", key):
        with lake.storage.arrow.open_input_file(file.path) as source:
            held = pq.read_table(source, columns=["version"])["version"].to_pylist()
        if not any(old(version) for version in held):
            kept.append(file.path)
            rows += file.rows
    content = f"{standing.content[:12]}-{rows}"
    new = replace(standing, content=content, rows=rows, parts=len(kept))
    swap(lake, Swap("releases", key, {}, "release", kept, standing.fingerprint, new, rewrites=standing.content))


def _certificate(lake: Lake, record: Mapping[str, Any], withdrawn: list[str], deleted: list[str]) -> dict[str, Any]:
    keys: Mapping[str, Any] = record.get("keys", {})
    taught = {
        student.version for student in registry.versions(lake) if any(k in p for p in student.parents for k in keys)
    }
    text = {
        "takedown": record["name"],
        "asked": record["began"],
        "removed_from_tables": record["done"],
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": {key: known["rows"] for key, known in keys.items()},
        "sha256_of_uids": sorted({uid for known in keys.values() for uid in known["digests"]}),
        "releases_withdrawn": withdrawn,
        "files_deleted": sorted(deleted),
        "landing_shards_that_are_yours_to_clean": sorted({s for known in keys.values() for s in known["adopted"]}),
        "students_that_learnt_from_these_keys": sorted(taught),
        "files_with_a_trace": 0,
    }
    lake.storage.put(certificate_path(record["name"]), json.dumps(text, indent=1).encode())
    return text
