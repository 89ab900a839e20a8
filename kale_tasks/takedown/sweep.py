"""Takes rows down: removes them from every table, index and shard of the lake, and keeps them out."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.contract.registry import STEPS
from kale_tasks.contract.step import Step
from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake import tombstones as takedowns
from kale_tasks.lake.preview import delete_preview, preview_names
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.lake.tombstones import FOLDER, Matcher, matcher
from kale_tasks.progress import Progress
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings
from kale_tasks.takedown.files import read_columns
from kale_tasks.takedown.rewrite import Removed, Rewrite, Stamp
from kale_tasks.urls import normal_url

_COLUMNS = ("uid", "url", "final_url", "sha256", "alt_text", "text", "dense_caption", "caption")
_FORMS = {
    "uid": (re.compile(r"[0-9a-fA-F]{32}"), "32 hex digits"),
    "sha256": (re.compile(r"[0-9a-fA-F]{64}"), "64 hex digits"),
    "host": (re.compile(r"[\w-]+(\.[\w-]+)+\.?"), "a host name such as photos.example.org"),
}


def take_down(
    lake: Lake, settings: Settings, request: Mapping[str, Sequence[str]], steps: Sequence[Step], progress: Progress
) -> dict[str, Any]:
    """Remove the rows that a request names (kind to values), keep them out, and return the record.

    Repeating the same request finishes a takedown that was interrupted. Raises BadConfig if the request is empty or
    a value has the wrong form.
    """
    _check_forms(request)
    name = takedowns.name_of(request)
    # Which runs are current must be recorded before the list is written: it changes what their steps depend on.
    record = _read(lake, name) or {"name": name, "began": utc_now(), "fresh": _current_runs(lake, settings, steps)}
    _write(lake, record)
    takedowns.add(lake, request)
    for preview in preview_names(lake.catalog):  # they may hold the rows, and nobody depends on them
        delete_preview(lake.catalog, lake.storage, preview)
    return sweep(lake, settings, record, steps, progress)


def sweep(
    lake: Lake, settings: Settings, record: dict[str, Any], steps: Sequence[Step], progress: Progress
) -> dict[str, Any]:
    """Remove the rows of every list from all that is committed; changes nothing if no new rows match."""
    removal, keys = matcher(lake), sorted({key for table in _tables() for key in lake.keys(table)})
    progress.begin(f"takedown {record['name']}", len(keys), "keys")
    for key in keys:
        uids = _matching_uids(lake, key, removal)
        removed = Removed()
        for step in steps:
            stamp = _stamp(lake, settings, step, key, record["fresh"])
            if stamp and (len(uids) or stamp.fingerprint != _committed(lake, step, key).fingerprint):
                Rewrite(lake, step, key, uids, stamp, record["name"], removed).carry_out()
        _delete_samples(lake, key)
        _record(lake, record, key, uids, removed)
        progress.advance(1, removed=sum(removed.rows.values()))
    due = datetime.now(UTC) + timedelta(days=settings.publish.takedown_days)
    record |= {"done": utc_now(), "due": record.get("due", due.isoformat(timespec="seconds"))}
    _write(lake, record)
    return record


def check_again(lake: Lake, settings: Settings, keys: Iterable[str]) -> dict[str, str]:
    """Check the keys that lost rows; returns the status by step and key. The verdicts on their runs stay."""
    from kale_tasks.quality.check import examine
    from kale_tasks.quality.committed import find
    from kale_tasks.quality.suite import Subject

    statuses: dict[str, str] = {}
    for key in keys:
        for step in [found.step for found in find(lake, key)]:
            statuses[f"{step} {key}"] = examine(Subject.of_committed(lake, settings, step, key)).status
    return statuses


def read_record(lake: Lake, name: str) -> dict[str, Any]:
    """Return the record of a takedown; Conflict if there is none that is complete."""
    record = _read(lake, name)
    if "done" not in record:
        raise Conflict(f"There is no finished takedown {name}. Run `kale takedown` with its list first.")
    return record


def rewritten_steps() -> list[Step]:
    """Return the steps whose rows a takedown removes: those that make rows with a uid for single keys."""
    tables = _tables()
    return [spec.load() for spec in STEPS.values() if spec.per_key and spec.table in tables]


def _check_forms(request: Mapping[str, Sequence[str]]) -> None:
    # Messages give the position of a value, not the value: what a takedown names must not appear in logs.
    for kind, values in request.items():
        for number, value in enumerate(values, 1):
            if kind == "url" and normal_url(value.strip()) is None:
                raise BadConfig(f"url {number} of {len(values)} is not a web address such as https://host/image.jpg.")
            form, expected = _FORMS.get(kind, (None, ""))
            if form and not form.fullmatch(value.strip()):
                raise BadConfig(f"{kind} {number} of {len(values)} is not valid: expected {expected}.")


def _tables() -> list[str]:
    return [name for name, spec in TABLES.items() if spec.arrow.get_field_index("uid") >= 0]


def _current_runs(lake: Lake, settings: Settings, steps: Sequence[Step]) -> dict[str, str]:
    return {
        f"{step.name}/{key}": run.fingerprint
        for step in steps
        for key in lake.keys(step.table)
        if (run := _run(lake, settings, step, key)) and run.previous and run.previous.fingerprint == run.fingerprint
    }


def _stamp(lake: Lake, settings: Settings, step: Step, key: str, current: Mapping[str, str]) -> Stamp | None:
    # A run that was current gets the fingerprint that its step would now give it; a stale one keeps its own.
    committed = lake.committed(step.table, key, step.slice)
    if committed is None:
        return None
    run = _run(lake, settings, step, key)
    if run and current.get(f"{step.name}/{key}") == committed.fingerprint:
        return Stamp(run.fingerprint, run.inputs)
    return Stamp(committed.fingerprint, committed.inputs)


def _run(lake: Lake, settings: Settings, step: Step, key: str) -> Run | None:
    try:
        return Run(step, lake, settings, key)
    except (BadData, Conflict):
        return None  # an input is missing or failed its checks, so the run cannot be current


def _committed(lake: Lake, step: Step, key: str) -> Committed:
    found = lake.committed(step.table, key, step.slice)
    assert found is not None
    return found


def _matching_uids(lake: Lake, key: str, removal: Matcher) -> pa.Array:
    """Return the uids of a key whose row matches in any table."""
    found: list[pa.ChunkedArray] = [pa.chunked_array([], pa.string())]
    for table in _tables():
        for rows in _slim_rows(lake, table, key):
            found.append(rows["uid"].filter(removal.matches(rows)))
    return pc.unique(pa.chunked_array([chunk for array in found for chunk in array.chunks], pa.string()))


def _slim_rows(lake: Lake, table: str, key: str) -> Iterator[pa.Table]:
    columns = [name for name in _COLUMNS if TABLES[table].arrow.get_field_index(name) >= 0]
    for file in lake.files(table, key):
        yield read_columns(lake, file.path, key, columns)


def _delete_samples(lake: Lake, key: str) -> None:
    # Rows that ingest dropped are in no table, but some are kept as examples of its rules.
    for path in [entry.path for entry in lake.storage.entries(f"pairs/key={key}") if "/dropped/" in entry.path]:
        lake.storage.delete(path)


def _record(lake: Lake, record: dict[str, Any], key: str, uids: pa.Array, removed: Removed) -> None:
    if removed.rows:
        before = record.setdefault("keys", {}).get(key, {"digests": [], **asdict(Removed())})
        rows = {t: before["rows"].get(t, 0) + removed.rows.get(t, 0) for t in {*before["rows"], *removed.rows}}
        record["keys"][key] = {
            "rows": dict(sorted(rows.items())),
            "digests": sorted({*before["digests"], *(takedowns.digest("uid", uid) for uid in uids.to_pylist())}),
            "replaced": sorted({*before["replaced"], *removed.replaced}),
            "adopted": sorted({*before["adopted"], *removed.adopted}),
        }
        _write(lake, record)


def _read(lake: Lake, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(lake.storage.read(f"{FOLDER}/{name}/record.json")))
    except FileNotFoundError:
        return {}


def _write(lake: Lake, record: Mapping[str, Any]) -> None:
    lake.storage.put(f"{FOLDER}/{record['name']}/record.json", json.dumps(record, indent=1, sort_keys=True).encode())
