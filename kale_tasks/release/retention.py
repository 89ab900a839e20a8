"""How long releases stay: in the lake, and in targets that keep each in a folder of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow.parquet as pq

from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.maintain import grace_of
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake
from kale_tasks.release.files import FOLDER
from kale_tasks.release.registry import open_target
from kale_tasks.settings.model import Settings


@dataclass(frozen=True)
class Expired:
    """What is beyond `publish.keep_releases`: releases of the lake, files that no other release has, and folders."""

    versions: Sequence[str] = ()
    files: Sequence[Entry] = ()
    published: Sequence[str] = ()


def expire_releases(lake: Lake, settings: Settings, *, dry_run: bool = False) -> Expired:
    """Delete the oldest releases of lake and target; the newest of each key and the published one stay."""
    place = open_target(settings.publish.target, settings) if settings.publish.target else None
    shown = place.current().version if place else None
    published = place.expire(settings.publish.keep_releases, dry_run=dry_run) if place else []
    if "releases" not in lake.tables():
        return Expired(published=published)
    old: list[str] = []
    for key in lake.keys("releases"):
        beyond = versions(lake, key)[settings.publish.keep_releases + 1 :]
        if (mine := [version for version in beyond if version != shown]) and not dry_run:
            drop_versions(lake, key, lambda version, gone=tuple(mine): version in gone)  # type: ignore[misc]
        old += mine
    files = _unused(lake, settings, old)
    for entry in () if dry_run else files:
        lake.storage.delete(entry.path)
    return Expired(old, files, published)


def versions(lake: Lake, key: str) -> list[str]:
    """Return the releases of a key that are in the lake, the newest first."""
    written = {entry.path: entry.modified for entry in lake.storage.entries(f"releases/key={key}")}
    found: dict[str, datetime] = {}
    for file in lake.files("releases", key):
        with lake.storage.arrow.open_input_file(file.path) as source:
            for version in pq.read_table(source, columns=["version"])["version"].unique().to_pylist():
                found[version] = max(written[file.path], found.get(version, written[file.path]))
    return sorted(found, key=lambda version: found[version], reverse=True)


def drop_versions(lake: Lake, key: str, old: Callable[[str], bool]) -> None:
    """Remove releases of a key from the table of releases; their files stay."""
    committed = lake.committed("releases", key)
    assert committed is not None
    kept, rows = [], 0
    for file in lake.files("releases", key):
        with lake.storage.arrow.open_input_file(file.path) as source:
            contained = pq.read_table(source, columns=["version"])["version"].to_pylist()
        if not any(old(version) for version in contained):
            kept.append(file.path)
            rows += file.rows
    content = f"{committed.content[:12]}-{rows}"
    new = replace(committed, content=content, rows=rows, parts=len(kept), commit="")
    swap(lake, Swap("releases", key, {}, "release", kept, committed, new))


def _unused(lake: Lake, settings: Settings, dropped: Sequence[str]) -> list[Entry]:
    """List the files of releases that no release of the lake has and no run can still be writing."""
    listed = list(lake.storage.entries(FOLDER))  # before the table is read: a commit in between can only use more
    rows = lake.arrow("releases", columns=["version", "path"]).to_pylist()
    used = {row["path"] for row in rows if row["version"] not in dropped}
    before = datetime.now(UTC) - grace_of(settings).runs
    return [entry for entry in listed if entry.path not in used and entry.modified < before]
