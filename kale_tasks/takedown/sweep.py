"""Takes rows down: removes them from every table, index and shard of the lake, and keeps them out."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.contract.registry import STEPS, StepSpec, spec_of
from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake import reviews
from kale_tasks.lake import tombstones as takedowns
from kale_tasks.lake.commit import Moved, Swap, move_epoch, read_base, retry_moved, swap
from kale_tasks.lake.index import LOOKS
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.preview import delete_preview, preview_names
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.lake.tombstones import FOLDER, matcher
from kale_tasks.progress import Progress
from kale_tasks.runner.commit import finish
from kale_tasks.runner.removal import Removed, matching_uids, remove_rows, tables_with_uids
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import SealedRun, read_committed, write_revision
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings
from kale_tasks.takedown.reports import delete_reports
from kale_tasks.urls import normal_url

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
    record = _read(lake, name) or {"name": name, "began": utc_now()}
    _write(lake, record)
    takedowns.add(lake, request)
    for preview in preview_names(lake.catalog):  # they may hold the rows, and nobody depends on them
        delete_preview(lake.catalog, lake.storage, preview)
    record = sweep(lake, settings, record, steps, progress)
    takedowns.forget_request(lake, request)
    return record


def rows_named(lake: Lake, request: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Count the rows that a request names, by key, and change nothing. Near copies of images are not looked for."""
    _check_forms(request)
    removal = takedowns.matcher_of(request)
    found = {key: len(matching_uids(lake, key, removal)) for key in _keys(lake)}
    return {key: rows for key, rows in found.items() if rows}


def sweep(
    lake: Lake, settings: Settings, record: dict[str, Any], steps: Sequence[Step], progress: Progress
) -> dict[str, Any]:
    """Remove the rows of every list from all that is committed; changes nothing if no new rows match."""
    # From here on every commit either has read the list or is refused.
    tables = sorted({step.table for step in steps} | ({"releases", reviews.TABLE} & set(lake.tables())))
    move_epoch(lake, tables)
    if takedowns.record_phashes(lake, record["name"]):
        move_epoch(lake, tables)  # how these images look is part of the list from here on
    removal, keys = matcher(lake), _keys(lake)
    progress.begin(f"takedown {record['name']}", len(keys), "keys")
    for key in keys:
        uids = matching_uids(lake, key, removal)
        if len(uids):
            takedowns.record_uids(lake, record["name"], key, uids.to_pylist())
            for step in steps:
                retry_moved(partial(_remove, lake, step, key, uids, record))
            _remove_reviews(lake, key, uids, record)
        _delete_samples(lake, key)
        progress.advance(1, removed=len(uids))
    delete_reports(lake, {uid for known in record.get("keys", {}).values() for uid in known["digests"]})
    due = datetime.now(UTC) + timedelta(days=settings.publish.takedown_days)
    record |= {"done": utc_now(), "due": record.get("due", due.isoformat(timespec="seconds"))}
    _write(lake, record)
    return record


def _keys(lake: Lake) -> list[str]:
    return sorted({key for table in tables_with_uids() for key in lake.keys(table)})


def _remove(lake: Lake, step: Step, key: str, uids: pa.Array, record: dict[str, Any]) -> None:
    """Remove rows from the committed run of a step. Raises Moved if another run is committed meanwhile."""
    finish(lake, step, key)
    committed, _ = read_base(lake, step.partition(key))
    if committed is None:
        return
    folder = run_folder(step.table, key, committed.fingerprint)
    sealed = read_committed(lake.storage, step.table, key, committed)
    if sealed is None:
        raise BadData(
            f"{folder} has no run.json, so its rows cannot be removed. Run {step.name} {key} again (kale run "
            f"{step.name} --key {key} --again), then repeat the takedown: it continues where it stopped."
        )
    removed = Removed()
    revised = remove_rows(lake, step, sealed, uids, removed)
    if revised == sealed:
        return
    revision = write_revision(lake.storage, folder, revised)
    if step.table == "captions" and step.slice["stage"] == 1:
        removed.lessons[str(step.slice["recipe"])] = [committed.identity or committed.content]
    _record(lake, record, key, f"{folder}/{revision}", removed)
    try:
        _swap_revision(lake, step, committed, revised, revision)
    except Moved:
        removed.rows.clear()  # what it replaces must still be deleted
        removed.lessons.clear()
        _record(lake, record, key, f"{folder}/{revision}", removed)
        raise
    finish(lake, step, key)


def _remove_reviews(lake: Lake, key: str, uids: pa.Array, record: dict[str, Any]) -> None:
    """Remove what people said of the rows. Every earlier file of the key may have it still."""
    rows = pc.sum(pc.is_in(reviews.read(lake, key, ["uid"])["uid"], value_set=uids)).as_py()
    if rows:
        folder = f"{reviews.TABLE}/key={key}"
        old = [entry.path for entry in lake.storage.entries(folder)]
        _record(lake, record, key, folder, Removed({reviews.TABLE: rows}, old))
        reviews.remove(lake, key, uids)


def _swap_revision(lake: Lake, step: Step, committed: Committed, revised: SealedRun, name: str) -> None:
    new = replace(
        committed, content=revised.content, rows=revised.rows, dropped=revised.dropped, revision=name, commit=""
    )
    swap(lake, Swap(step.table, revised.key, step.slice, step.name, revised.paths(step.table), committed, new))


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


class _StoredOfRecipe(Step):
    """A step of some recipe whose rows are committed. It is never run from here."""

    def __init__(self, spec: StepSpec, also: Sequence[str]) -> None:
        self.name, self.table, self.slice = spec.name, spec.table, spec.slice  # type: ignore[misc]
        self.also = tuple(also)  # type: ignore[misc]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        raise Conflict(f"{self.name} is of a recipe: `kale run captions` and `kale run student` run it.")

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return []

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        yield from ()


def rewritten_steps(lake: Lake) -> list[Step]:
    """Return the steps whose rows a takedown removes: those that make rows with a uid for single keys.

    Of recipes these are the passes and captions that are committed, whether or not the recipe still exists.
    """
    tables = tables_with_uids()
    plain = [spec for spec in STEPS.values() if spec.per_key and spec.table in tables and not spec.by_recipe]
    stored = {
        (p.table, p.slice): spec
        for table in ("texts", "captions")
        for p in lake.partitions(table)
        if (spec := spec_of(p))
    }
    indexed = {p.slice for p in lake.partitions(LOOKS)} if LOOKS in lake.tables() else set()
    also = [[LOOKS] if slice_ in indexed else [] for _, slice_ in stored]
    return [*(spec.load() for spec in plain), *map(_StoredOfRecipe, stored.values(), also)]


def _check_forms(request: Mapping[str, Sequence[str]]) -> None:
    # Messages give the position of a value, not the value: what a takedown names must not appear in logs.
    for kind, values in request.items():
        for number, value in enumerate(values, 1):
            if kind == "url" and normal_url(value.strip()) is None:
                raise BadConfig(f"url {number} of {len(values)} is not a web address such as https://host/image.jpg.")
            form, expected = _FORMS.get(kind, (None, ""))
            if form and not form.fullmatch(value.strip()):
                raise BadConfig(f"{kind} {number} of {len(values)} is not valid: expected {expected}.")


def _delete_samples(lake: Lake, key: str) -> None:
    # Rows that ingest dropped are in no table, but some are kept as examples of its rules.
    for path in [entry.path for entry in lake.storage.entries(f"pairs/key={key}") if "/dropped/" in entry.path]:
        lake.storage.delete(path)


def _record(lake: Lake, record: dict[str, Any], key: str, revision: str, removed: Removed) -> None:
    """Record what a revision removes, before it is committed: after a crash nothing else would know what it replaced.

    A repeated takedown makes the same revision, which is recorded once.
    """
    known = record.setdefault("keys", {}).setdefault(key, {"revisions": {}})
    known["revisions"][revision] = asdict(removed)
    rows: Counter[str] = Counter()
    for one in known["revisions"].values():
        rows.update(one["rows"])
    lessons: dict[str, list[str]] = {}
    for one in known["revisions"].values():
        for recipe, contents in one.get("lessons", {}).items():
            lessons[recipe] = sorted({*lessons.get(recipe, ()), *contents})
    known |= {
        "rows": dict(sorted(rows.items())),
        "digests": takedowns.recorded_uids(lake, record["name"], key),
        "lessons": lessons,
        **{n: sorted({p for one in known["revisions"].values() for p in one[n]}) for n in ("replaced", "adopted")},
    }
    _write(lake, record)


def _read(lake: Lake, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(lake.storage.read(f"{FOLDER}/{name}/record.json")))
    except FileNotFoundError:
        return {}


def _write(lake: Lake, record: Mapping[str, Any]) -> None:
    lake.storage.put(f"{FOLDER}/{record['name']}/record.json", json.dumps(record, indent=1, sort_keys=True).encode())
