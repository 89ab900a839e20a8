"""Takes rows back: out of every table, index and shard of the lake, and never in again."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.contract.step import Step
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake import tombstones as takedowns
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.tombstones import FOLDER, Matcher, matcher
from kale_tasks.progress import Progress
from kale_tasks.runner.run import Run
from kale_tasks.settings.model import Settings
from kale_tasks.takedown.rewrite import Removed, Rewrite, Stamp

_LOOKED_AT = ("uid", "url", "final_url", "sha256", "alt_text", "text", "dense_caption", "caption")


def take_down(
    lake: Lake, settings: Settings, wanted: Mapping[str, Iterable[str]], steps: Sequence[Step], progress: Progress
) -> dict[str, Any]:
    """Remove what a list names and keep it out; answers with the record. Doing it again finishes what was cut short."""
    name = takedowns.name_of(wanted)
    # Which runs are up to date must be known before the list stands: afterwards the steps that ask it all look stale.
    record = _read(lake, name) or {"name": name, "began": _now(), "fresh": _fresh(lake, settings, steps)}
    _write(lake, record)
    takedowns.add(lake, wanted)
    return sweep(lake, settings, record, steps, progress)


def sweep(
    lake: Lake, settings: Settings, record: dict[str, Any], steps: Sequence[Step], progress: Progress
) -> dict[str, Any]:
    """Remove what any list names from all that stands committed; finds nothing when nothing came in since."""
    law, keys = matcher(lake), sorted({key for table in _tables() for key in lake.keys(table)})
    progress.begin(f"takedown {record['name']}", len(keys), "keys")
    for key in keys:
        uids = _named(lake, key, law)
        removed = Removed()
        for step in steps:
            stamp = _stamp(lake, settings, step, key, record["fresh"])
            if stamp and (len(uids) or stamp.fingerprint != _standing(lake, step, key).fingerprint):
                Rewrite(lake, step, key, uids, stamp, record["name"], removed).carry_out()
        _forget_samples(lake, key)
        _note(lake, record, key, uids, removed)
        progress.advance(1, removed=sum(removed.rows.values()))
    due = datetime.now(UTC) + timedelta(days=settings.publish.takedown_days)
    record |= {"done": _now(), "due": record.get("due", due.isoformat(timespec="seconds"))}
    _write(lake, record)
    return record


def read_record(lake: Lake, name: str) -> dict[str, Any]:
    """What a takedown did; Conflict when it is not done."""
    record = _read(lake, name)
    if "done" not in record:
        raise Conflict(f"There is no finished takedown {name}. Run `kale takedown` with its list first.")
    return record


def names(lake: Lake) -> list[str]:
    """Every takedown of this lake."""
    return sorted({entry.path.split("/")[1] for entry in lake.storage.entries(FOLDER)})


def _tables() -> list[str]:
    return [name for name, spec in TABLES.items() if spec.arrow.get_field_index("uid") >= 0]


def _fresh(lake: Lake, settings: Settings, steps: Sequence[Step]) -> dict[str, str]:
    return {
        f"{step.name}/{key}": run.fingerprint
        for step in steps
        for key in lake.keys(step.table)
        if (run := _run(lake, settings, step, key)) and run.previous and run.previous.fingerprint == run.fingerprint
    }


def _stamp(lake: Lake, settings: Settings, step: Step, key: str, fresh: Mapping[str, str]) -> Stamp | None:
    # A run that was up to date is called as it would be called now; a stale one keeps its name, and stays stale.
    standing = lake.committed(step.table, key, step.slice)
    if standing is None:
        return None
    run = _run(lake, settings, step, key)
    if run and fresh.get(f"{step.name}/{key}") == standing.fingerprint:
        return Stamp(run.fingerprint, run.inputs)
    return Stamp(standing.fingerprint, standing.inputs)


def _run(lake: Lake, settings: Settings, step: Step, key: str) -> Run | None:
    try:
        return Run(step, lake, settings, key)
    except (BadData, Conflict):
        return None  # its inputs are not there (any more), or failed their checks: nothing to be up to date with


def _standing(lake: Lake, step: Step, key: str) -> Committed:
    found = lake.committed(step.table, key, step.slice)
    assert found is not None
    return found


def _named(lake: Lake, key: str, law: Matcher) -> pa.Array:
    """The uids of a key that are to go, by whatever table names them."""
    found: list[pa.ChunkedArray] = [pa.chunked_array([], pa.string())]
    for table in _tables():
        for rows in _slim(lake, table, key):
            found.append(rows["uid"].filter(law.matches(rows)))
    return pc.unique(pa.chunked_array([chunk for array in found for chunk in array.chunks], pa.string()))


def _slim(lake: Lake, table: str, key: str) -> Iterator[pa.Table]:
    columns = [name for name in _LOOKED_AT if TABLES[table].arrow.get_field_index(name) >= 0]
    for file in lake.files(table, key):
        with lake.storage.arrow.open_input_file(file.path) as source:
            yield pq.ParquetFile(source).read(columns)


def _forget_samples(lake: Lake, key: str) -> None:
    # Rows that ingest dropped are in no table, but may be shown as examples of its rules.
    for path in [entry.path for entry in lake.storage.entries(f"pairs/key={key}") if "/dropped/" in entry.path]:
        lake.storage.delete(path)


def _note(lake: Lake, record: dict[str, Any], key: str, uids: pa.Array, removed: Removed) -> None:
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
