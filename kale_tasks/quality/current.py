"""Compares stored reports with the lake as it is now: how old they are, and what has changed since."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from kale_tasks.contract.registry import spec_of
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import blocked_runs
from kale_tasks.quality.committed import Found, checked_tables, find
from kale_tasks.quality.html import render
from kale_tasks.quality.stored import StoredReport, read_report
from kale_tasks.quality.words import duration, number

_BLOCKED = "blocked "


def contents(found: Sequence[Found]) -> dict[str, str]:
    """Return what a report is about, by partition: the content of its rows, or the run that is blocked."""
    return {str(one.spec.partition(one.key)): _content(one) for one in found}


def age(at: str, now: datetime | None = None) -> str:
    """Say how long ago a report was made."""
    return duration(max(0.0, ((now or datetime.now(UTC)) - datetime.fromisoformat(at)).total_seconds()))


def changed_keys(lake: Lake, reports: Sequence[StoredReport]) -> set[str]:
    """Return the keys whose runs are others than those that the stored report is about; no file of a key is read."""
    now: dict[str, dict[str, str]] = {}
    for table in checked_tables():
        for partition, committed in lake.partitions(table).items():
            if (spec := spec_of(partition)) and spec.suite:
                now.setdefault(partition.key, {})[str(partition)] = committed.content
    for partition, run in blocked_runs(lake).items():
        now.setdefault(partition.key, {})[str(partition)] = f"{_BLOCKED}{run.seal_id}"
    return {one.name for one in reports if _differs(one.summary.get("contents") or {}, now.get(one.name, {}))}


def changes(lake: Lake, report: Mapping[str, Any]) -> list[str]:
    """Say step by step what has changed since a report on a key, given as its JSON, was made."""
    now = {(one.step, one.spec.recipe): one for one in find(lake, report["key"], blocked=True)}
    before = {(one["step"], one["recipe"]): one for one in report["steps"]}
    said = [line for name, one in now.items() for line in _said(one, before.get(name))]
    gone = [str(name[0]) for name in before if name not in now]
    return [*said, *(f"{step}: its rows are gone" for step in gone)]


def current_page(lake: Lake, key: str, root: str) -> str | None:
    """Return the stored report on a key with its age, what has changed since, and links to rows that fail; or None.

    The links are those of the pages below `root`.
    """
    page, stored = read_report(lake.storage, key, "html"), read_report(lake.storage, key, "json")
    if page is None or stored is None:
        return None
    report = json.loads(stored)
    if "steps" not in report:  # of a release, which never changes
        return page.decode()
    failing = {
        one.heading: f"{root}/failing/{quote(one.step)}/{quote(key)}.csv"
        for one in find(lake, key, blocked=True)
        if one.result and (one.result.failed or one.result.warnings)
    }
    since = render("since.html", key=key, age=age(report["at"]), changes=changes(lake, report), failing=failing)
    return page.decode().replace("</header>", f"</header>\n{since}", 1)


def _said(one: Found, before: Mapping[str, Any] | None) -> Iterator[str]:
    rows = number(one.committed.rows)
    if before is None:
        yield f"{one.heading}: {rows} rows are new"
        return
    became = f"{number(before['rows'])} rows then, {rows} now"
    if before["fingerprint"] != one.committed.fingerprint:
        yield f"{one.heading}: another run ({became})"
    elif before["content"] != one.committed.content:
        yield f"{one.heading}: rows were taken out ({became})"
    if before["status"] != one.status:
        yield f"{one.heading}: {before['status']} then, {one.status} now"


def _differs(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    texts = {name for name in now if name.startswith("texts ")} - before.keys()  # passes that are never checked
    return dict(before) != {name: content for name, content in now.items() if name not in texts}


def _content(one: Found) -> str:
    waits = one.sealed and one.status == "blocked"
    return f"{_BLOCKED}{one.committed.seal_id}" if waits else one.committed.content
