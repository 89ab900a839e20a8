"""The last look over all parts of a key, before they are committed: placeholders go, near duplicates are marked."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.contract.step import Part, Quarantined
from kale_tasks.images.duplicates import Hashes, near_duplicates, placeholders
from kale_tasks.images.reasons import Reason
from kale_tasks.lake.parts import PartMeta, part_path
from kale_tasks.lake.schemas import TABLES
from kale_tasks.runner.run import Run

NEAR = "near_duplicate"
_Mask = npt.NDArray[np.bool_]


class _Look(NamedTuple):
    """What settling needs of a part: 24 bytes an image."""

    sha256: Hashes
    phash: Hashes
    ok: _Mask
    marked: _Mask
    out: Hashes  # hashes of placeholders that were taken out already


def settle(run: Run, metas: Mapping[int, PartMeta]) -> Iterator[Part]:
    """The parts that look other beside all others than they did alone; none when done a second time."""
    looks = {number: _look(run, metas[number]) for number in sorted(metas)}
    ok = np.concatenate([look.ok for look in looks.values()])
    hashes = np.concatenate([look.sha256 for look in looks.values()])[ok]
    out = np.concatenate([look.out for look in looks.values()])
    gone, near = np.zeros_like(ok), np.zeros_like(ok)
    gone[ok] = placeholders(np.concatenate([hashes, out]), run.settings.images.placeholder_count)[: len(hashes)]
    rest = ok & ~gone
    phash = np.concatenate([look.phash for look in looks.values()])
    near[rest] = near_duplicates(phash[rest], run.settings.images.near_bits)
    start = 0
    for number, look in looks.items():
        span = slice(start, start + len(look.ok))
        start = span.stop
        if gone[span].any() or (near[span] != look.marked).any():
            yield _settled(run, metas[number], gone[span], near[span])


def _look(run: Run, meta: PartMeta) -> _Look:
    rows = _rows(run, "images", meta, meta.kept)
    taken = _taken_out(run, meta)
    known = set(rows["uid"].to_pylist())
    marked = [NEAR in (flags or ()) for flags in rows["flags"].to_pylist()]
    return _Look(
        _prefixes(rows["sha256"].to_pylist()),
        rows["phash"].fill_null(0).to_numpy().view(np.uint64),
        pc.equal(rows["status"], "ok").to_numpy().astype(bool),
        np.array(marked, dtype=bool),
        _prefixes([q.detail for q in taken if q.reason == Reason.PLACEHOLDER and q.uid not in known]),
    )


def _settled(run: Run, meta: PartMeta, gone: _Mask, near: _Mask) -> Part:
    rows = _rows(run, "images", meta, meta.kept)
    flags = [
        [*(f for f in flags or () if f != NEAR), *([NEAR] if marked else [])]
        for flags, marked in zip(rows["flags"].to_pylist(), near, strict=True)
    ]
    rows = rows.set_column(rows.column_names.index("flags"), "flags", pa.array(flags, rows.schema.field("flags").type))
    placeholders_ = [
        Quarantined(row["uid"], Reason.PLACEHOLDER, row["sha256"], row["attempts"])
        for row in rows.filter(pa.array(gone)).to_pylist()
    ]
    known = {q.uid for q in placeholders_}
    before = [q for q in _taken_out(run, meta) if q.uid not in known]
    kept = rows.filter(pa.array(~gone))
    return Part(meta.number, kept, meta.rows_in, quarantine=[*before, *placeholders_], metrics=meta.metrics)


def _taken_out(run: Run, meta: PartMeta) -> list[Quarantined]:
    rows = _rows(run, "quarantine", meta, meta.quarantined).to_pylist()
    return [Quarantined(row["uid"], row["reason"], row["detail"], row["attempts"]) for row in rows]


def _rows(run: Run, table: str, meta: PartMeta, count: int) -> pa.Table:
    if not count:
        return TABLES[table].arrow.empty_table()
    with run.lake.storage.arrow.open_input_file(part_path(run.writer.folder(table), meta.number)) as file:
        return pq.read_table(file)


def _prefixes(hashes: list[str | None]) -> Hashes:
    return np.array([int(h[:16], 16) if h else 0 for h in hashes], dtype=np.uint64)
