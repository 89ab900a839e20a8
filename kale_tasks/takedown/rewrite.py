"""Rewrites committed partitions without some rows: the same runs, with the rows and their image bytes gone."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.contract.step import Step
from kale_tasks.errors import BadData
from kale_tasks.lake import parts
from kale_tasks.lake import verdicts as marks
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.shards import LANDING
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.tombstones import TAKEDOWN
from kale_tasks.runner.writer import conform, run_folder
from kale_tasks.takedown.shards import NewShard, without


@dataclass
class Removed:
    """What was taken out of where."""

    rows: dict[str, int] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)  # files that are to be deleted once no reader needs them
    adopted: list[str] = field(default_factory=list)  # shards of the landing, which belong to whoever put them there


@dataclass(frozen=True)
class Stamp:
    """What a rewritten run is called: as its step would now call it, so that it is not run again for nothing."""

    fingerprint: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Rewrite:
    """The removal of some rows from all that one step committed for one key, in the name of a takedown."""

    lake: Lake
    step: Step
    key: str
    uids: pa.Array
    stamp: Stamp
    name: str
    removed: Removed

    def carry_out(self) -> None:
        """Side tables first, as a commit does; the check result is stored under the new name before the commit."""
        standing = self.lake.committed(self.step.table, self.key, self.step.slice)
        if standing and standing.fingerprint != self.stamp.fingerprint:
            marks.carry(self.lake, self.step.table, self.key, standing.fingerprint, self.stamp.fingerprint)
        for table in (*self.step.also, "quarantine"):
            self._partition(table, {"step": self.step.name} if table == "quarantine" else {})
        self._partition(self.step.table, self.step.slice)

    def _partition(self, table: str, slice_: Mapping[str, Any]) -> None:
        standing = self.lake.committed(table, self.key, slice_)
        if standing is None:
            return
        named = replace(standing, fingerprint=self.stamp.fingerprint, inputs=self.stamp.inputs)
        paths = [file.path for file in self.lake.files(table, self.key, slice_)] if len(self.uids) else []
        made, shards = self._parts(table, paths)
        gone = standing.rows - sum(part.meta.kept for part in made) if paths else 0
        if gone:
            self._swap(table, slice_, standing, [p.path for p in made if p.meta.kept], _less(named, made, gone))
            self.removed.rows[table] = self.removed.rows.get(table, 0) + gone
            self.removed.replaced += [path for path, part in zip(paths, made, strict=True) if part.path != path]
            self.removed.replaced += shards
        elif named.fingerprint != standing.fingerprint:
            self._swap(table, slice_, standing, None, named)

    def _swap(
        self, table: str, slice_: Mapping[str, Any], standing: Committed, paths: Sequence[str] | None, new: Committed
    ) -> None:
        base, rewrites = standing.fingerprint, standing.content
        swap(self.lake, Swap(table, self.key, slice_, self.step.name, paths, base, new, rewrites=rewrites))

    def _parts(self, table: str, paths: Sequence[str]) -> tuple[list["_Part"], list[str]]:
        folder = f"{run_folder(table, self.key, self.stamp.fingerprint)}-{self.name[:8]}"
        shards = _shards(self.lake, paths, self.uids, folder, self.removed) if table == "images" else {}
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda path: self._part(table, path, shards, folder), paths)), list(shards)

    def _part(self, table: str, path: str, shards: Mapping[str, NewShard], folder: str) -> "_Part":
        meta = parts.read_meta(self.lake.storage, path)
        if meta is None:
            raise BadData(f"{path} cannot be read. Run the step that makes it again, with --again.")
        names = _read(self.lake, path, ["uid", *(["shard"] if shards else [])])
        hit = pc.is_in(names["uid"], value_set=self.uids)
        moved = pc.is_in(names["shard"], value_set=pa.array(list(shards), pa.string())) if shards else hit
        if not pc.any(pc.or_(hit, moved)).as_py():
            return _Part(path, meta)
        rows = conform(table, _read(self.lake, path)).filter(pc.invert(hit))
        rows = _moved(rows, shards) if shards else rows
        new = replace(
            meta,
            fingerprint=self.stamp.fingerprint,
            kept=rows.num_rows,
            dropped=_dropped(meta.dropped, meta.kept - rows.num_rows),
            content=parts.digest(rows),
        )
        written = parts.write(self.lake.storage, folder, new, rows) if rows.num_rows else None
        return _Part(written.path if written else "", new)


@dataclass(frozen=True)
class _Part:
    path: str
    meta: PartMeta


def _less(named: Committed, made: Sequence[_Part], gone: int) -> Committed:
    content = hashlib.sha256("".join(part.meta.content for part in made).encode()).hexdigest()[:20]
    return replace(named, content=content, rows=named.rows - gone, dropped=_dropped(named.dropped, gone))


def _dropped(dropped: Mapping[str, int], gone: int) -> Mapping[str, int]:
    return {**dropped, TAKEDOWN: dropped.get(TAKEDOWN, 0) + gone} if gone else dropped


def _shards(lake: Lake, paths: Sequence[str], uids: pa.Array, folder: str, removed: Removed) -> dict[str, NewShard]:
    """Every shard that holds an image to be removed, written anew."""
    hits: dict[str, set[int]] = {}
    for path in paths:
        rows = _read(lake, path, ["uid", "shard", "offset"])
        hit = rows.filter(pc.and_(pc.is_in(rows["uid"], value_set=uids), pc.is_valid(rows["shard"])))
        for shard, offset in zip(hit["shard"].to_pylist(), hit["offset"].to_pylist(), strict=True):
            hits.setdefault(shard, set()).add(offset)
    removed.adopted += sorted(shard for shard in hits if shard.startswith(LANDING))
    return {s: without(lake, s, offsets, folder) for s, offsets in sorted(hits.items()) if not s.startswith(LANDING)}


def _moved(rows: pa.Table, shards: Mapping[str, NewShard]) -> pa.Table:
    places = [
        (shards[shard].path, shards[shard].offsets[offset]) if shard in shards else (shard, offset)
        for shard, offset in zip(rows["shard"].to_pylist(), rows["offset"].to_pylist(), strict=True)
    ]
    columns = {"shard": [shard for shard, _ in places], "offset": [offset for _, offset in places]}
    for name, values in columns.items():
        i = rows.schema.get_field_index(name)
        rows = rows.set_column(i, rows.schema.field(i), pa.array(values, rows.schema.field(i).type))
    return rows


def _read(lake: Lake, path: str, columns: list[str] | None = None) -> pa.Table:
    with lake.storage.arrow.open_input_file(path) as file:
        return pq.ParquetFile(file).read(columns)
