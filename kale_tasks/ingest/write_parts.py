"""Writes sorted rows as parts: kept pairs, their index entries, the counts of dropped rows, quarantined rows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.contract.types import Part, Quarantined
from kale_tasks.ingest.clean import SKETCHES
from kale_tasks.ingest.rules import PersonalData
from kale_tasks.lake.index import INDEX
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tombstones import TAKEDOWN
from kale_tasks.runner.writer import Writer

_PAIRS = TABLES["pairs"].arrow
_INDEX = TABLES[INDEX].arrow
_HASHES = {"uid": "uid_hash", "url": "url_hash", "sha256": "picture_hash"}


@dataclass(frozen=True)
class PartWriter:
    """Writes the wanted parts of a stream of sorted rows. Can be pickled."""

    writer: Writer
    wanted: frozenset[int]
    personal_data: PersonalData
    samples: int
    facts: bool  # whether copies of texts are found by equal facts

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[PartMeta]:
        """Write each wanted part in the stream and yield its metadata."""
        for number, rows in _by_part(batches):
            if number in self.wanted:
                self._write_samples(number, rows)
                yield self.writer.write(part_of(number, rows, facts=self.facts))

    def _write_samples(self, number: int, rows: pa.Table) -> None:
        """Write a few dropped rows of each rule for the report, masked, and none that was taken down."""
        samples: dict[str, list[dict[str, str]]] = {}
        dropped = rows.filter(pc.and_(pc.not_equal(rows["rule"], TAKEDOWN), pc.is_null(rows["reason"])))
        for uid, url, text, rule in zip(*(dropped[n].to_pylist() for n in ("uid", "url", "text", "rule")), strict=True):
            if len(few := samples.setdefault(rule, [])) < self.samples:
                mask = self.personal_data.mask
                few.append({"uid": uid, "url": mask(url or ""), "text": mask(text)[:300]})
        folder = self.writer.folder(self.writer.table)
        text = json.dumps(samples, ensure_ascii=False)
        self.writer.storage.put(f"{folder}/dropped/{number:05d}.json", text.encode())


def part_of(number: int, rows: pa.Table, *, facts: bool) -> Part:
    """Build a part from its rows: each is kept, dropped under a rule, or quarantined for a reason."""
    unreadable = rows.filter(pc.is_valid(rows["reason"]))
    readable = rows.filter(pc.is_null(rows["reason"]))
    kept = readable.filter(pc.is_null(readable["rule"]))
    counts = pc.value_counts(readable["rule"].drop_null())
    return Part(
        number=number,
        rows=_pairs(kept),
        rows_in=rows.num_rows,
        dropped={str(entry["values"]): entry["counts"].as_py() for entry in counts},
        quarantine=[
            Quarantined(*values)
            for values in zip(*(unreadable[n].to_pylist() for n in ("uid", "reason", "detail")), strict=True)
        ],
        also={INDEX: index_of(kept, rows.filter(pc.is_valid(rows["lost_kind"])), facts=facts)},
    )


def index_of(kept: pa.Table, lost: pa.Table, *, facts: bool) -> pa.Table:
    """Return the index entries of kept rows, and those by which rows were lost to earlier keys."""
    hashes = {**_HASHES, "facts": "text_hash"} if facts else _HASHES
    entries = [_entries(kept, kind, kept[name]) for kind, name in hashes.items()]
    for kind in SKETCHES:
        bands = kept[f"{kind}_bands"].combine_chunks()
        owners = kept.take(pc.list_parent_indices(bands))
        entries.append(_entries(owners, kind, pc.list_flatten(bands), owners[f"{kind}_a"], owners[f"{kind}_b"]))
    table = pa.concat_tables([*entries, _lost_entries(lost)])
    return table.filter(pc.is_valid(table["hash"])).sort_by(
        [(n, "ascending") for n in ("uid", "kind", "hash", "owner")]
    )


def _pairs(kept: pa.Table) -> pa.Table:
    columns = {name: kept["dups" if name == "dup_count" else name] for name in _PAIRS.names}
    return pa.table(columns)


def _entries(owners: pa.Table, kind: str, hashes: Any, sketch_a: Any = None, sketch_b: Any = None) -> pa.Table:
    rows = owners.num_rows
    none = pa.nulls(rows, pa.int64())
    kinds = pa.array([kind] * rows, pa.string())
    sketches = [none if half is None else half for half in (sketch_a, sketch_b)]
    nobody = pa.nulls(rows, pa.string())
    return pa.table([owners["uid"], owners["key"], kinds, hashes, *sketches, nobody], schema=_INDEX)


def _lost_entries(lost: pa.Table) -> pa.Table:
    names = ("uid", "key", "lost_kind", "lost_entries")
    rows = (
        {"uid": uid, "key": key, "kind": kind, "hash": int(value), "owner": owner}
        for uid, key, kind, entries in zip(*(lost[name].to_pylist() for name in names), strict=True)
        for value, owner in (entry.split(" ") for entry in entries)
    )
    return pa.Table.from_pylist(list(rows), _INDEX)


def _by_part(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    """Group a stream that is sorted by part into one table per part."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        start = 0
        numbers = batch["part"]
        while start < batch.num_rows:
            number = numbers[start].as_py()
            if waiting and waiting[0]["part"][0].as_py() != number:
                yield waiting[0]["part"][0].as_py(), pa.Table.from_batches(waiting)
                waiting = []
            stop = start + pc.sum(pc.equal(numbers.slice(start), number)).as_py()
            waiting.append(batch.slice(start, stop - start))
            start = stop
    if waiting:
        yield waiting[0]["part"][0].as_py(), pa.Table.from_batches(waiting)
