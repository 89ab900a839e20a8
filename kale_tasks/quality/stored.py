"""Where reports are stored in the warehouse: writes, lists and reads them. Imports nothing that makes them."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.storage.base import Storage

RELEASE = "release-"  # prefix of the name of a release's report; that of a key has the key as its name
_FOLDER = "reports"
_PUBLISHED = f"{_FOLDER}/published.json"
_LISTED = 200
_KINDS = ("html", "summary.json", "json")


@dataclass(frozen=True)
class StoredReport:
    """One line in the list of reports."""

    name: str
    title: str
    summary: dict[str, Any]


def report_path(name: str, kind: str) -> str:
    """Return the path of a report below the warehouse; kind is html, json or summary.json."""
    return f"{_FOLDER}/{name}.{kind}"


def put_report(storage: Storage, name: str, page: str, report: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Store a report. The page comes last: when it exists, so do the others."""
    for kind, content in {"json": report, "summary.json": summary}.items():
        storage.put(report_path(name, kind), json.dumps(content, indent=1, ensure_ascii=False).encode())
    storage.put(report_path(name, "html"), page.encode())


def read_report(storage: Storage, name: str, kind: str) -> bytes | None:
    """Read a stored report; None if there is none or the name is not valid."""
    try:
        return storage.read(report_path(check_key(name), kind))
    except (FileNotFoundError, BadConfig):
        return None


def report_names(storage: Storage) -> dict[str, list[str]]:
    """Return the stored reports by name, each with its files."""
    found: dict[str, list[str]] = {}
    for path in (entry.path for entry in storage.entries(_FOLDER)):
        for kind in _KINDS:
            if path.endswith(f".{kind}"):
                found.setdefault(path.removeprefix(f"{_FOLDER}/").removesuffix(f".{kind}"), []).append(path)
                break
    found.pop("published", None)
    return found


def delete_report(storage: Storage, name: str) -> None:
    """Delete a report, its page first: without it nobody looks for the rest."""
    for kind in _KINDS:
        storage.delete(report_path(name, kind))


def put_published(storage: Storage, version: str) -> None:
    """Record which release was published last."""
    storage.put(_PUBLISHED, json.dumps({"version": version}).encode())


def published_version(storage: Storage) -> str | None:
    """Return the release that was published last, or None."""
    try:
        return str(json.loads(storage.read(_PUBLISHED))["version"])
    except FileNotFoundError:
        return None


def list_reports(storage: Storage) -> tuple[list[StoredReport], list[StoredReport]]:
    """List the reports of keys, by key, and of releases, by the time they were built; the latest first."""
    ending = ".summary.json"
    paths = sorted((e.path for e in storage.entries(_FOLDER) if e.path.endswith(ending)), reverse=True)
    names = [path.removeprefix(f"{_FOLDER}/").removesuffix(ending) for path in paths]

    def read(name: str) -> StoredReport:
        summary = json.loads(storage.read(report_path(name, "summary.json")))
        return StoredReport(name, name.removeprefix(RELEASE), summary)

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(read, [name for name in names if not name.startswith(RELEASE)][:_LISTED]))
        releases = list(pool.map(read, [name for name in names if name.startswith(RELEASE)]))
    return keys, sorted(releases, key=_built, reverse=True)[:_LISTED]


def _built(report: StoredReport) -> str:
    return str(report.summary.get("built") or report.summary["at"])
