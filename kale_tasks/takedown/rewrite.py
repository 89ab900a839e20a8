"""Rewrites committed partitions without some rows and their image bytes, under the fingerprint of their run."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.contract.step import Step
from kale_tasks.lake import parts
from kale_tasks.lake.commit import Swap, swap
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.shards import LANDING
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.tombstones import TAKEDOWN
from kale_tasks.runner.writer import conform, run_folder
from kale_tasks.takedown.files import RewrittenShard, named_if_unreadable, read_columns, rewrite_shard


@dataclass
class Removed:
    """What was removed from a key."""

    rows: dict[str, int] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)  # files to delete once no reader needs them
    adopted: list[str] = field(default_factory=list)  # shards of the landing area, which its owner must clean


@dataclass(frozen=True)
class Stamp:
    """Fingerprint and inputs of a rewritten run: those that its step would now give it, so that it is not run again."""

    fingerprint: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Rewrite:
    """The removal of some rows from everything that one step committed for one key."""

    lake: Lake
    step: Step
    key: str
    uids: pa.Array
    stamp: Stamp
    name: str
    removed: Removed

    def carry_out(self) -> None:
        """Rewrite the side tables, then the main table. The verdict stays that of the run as it was sealed."""
        for table in (*self.step.also, "quarantine"):
            self._partition(table, {"step": self.step.name} if table == "quarantine" else {})
        self._partition(self.step.table, self.step.slice)

    def _partition(self, table: str, slice_: Mapping[str, Any]) -> None:
        committed = self.lake.committed(table, self.key, slice_)
        if committed is None:
            return
        named = replace(committed, fingerprint=self.stamp.fingerprint, inputs=self.stamp.inputs)
        paths = [file.path for file in self.lake.files(table, self.key, slice_)] if len(self.uids) else []
        made, shards = self._parts(table, paths)
        removed = committed.rows - sum(part.meta.kept for part in made) if paths else 0
        if removed:
            self._swap(table, slice_, committed, [p.path for p in made if p.meta.kept], _less(named, made, removed))
            self.removed.rows[table] = self.removed.rows.get(table, 0) + removed
            self.removed.replaced += [path for path, part in zip(paths, made, strict=True) if part.path != path]
            self.removed.replaced += shards
        elif named.fingerprint != committed.fingerprint:
            self._swap(table, slice_, committed, None, named)

    def _swap(
        self, table: str, slice_: Mapping[str, Any], committed: Committed, paths: Sequence[str] | None, new: Committed
    ) -> None:
        base, rewrites = committed.fingerprint, committed.content
        swap(self.lake, Swap(table, self.key, slice_, self.step.name, paths, base, new, rewrites=rewrites))

    def _parts(self, table: str, paths: Sequence[str]) -> tuple[list["_Part"], list[str]]:
        folder = f"{run_folder(table, self.key, self.stamp.fingerprint)}-{self.name[:8]}"
        shards = self._shards(paths, folder) if table == "images" else {}
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda path: self._part(table, path, shards, folder), paths)), list(shards)

    def _shards(self, paths: Sequence[str], folder: str) -> dict[str, RewrittenShard]:
        """Rewrite every shard that contains a removed image."""
        hits: dict[str, set[int]] = {}
        for path in paths:
            rows = read_columns(self.lake, path, self.key, ["uid", "shard", "offset"])
            hit = rows.filter(pc.and_(pc.is_in(rows["uid"], value_set=self.uids), pc.is_valid(rows["shard"])))
            for shard, offset in zip(hit["shard"].to_pylist(), hit["offset"].to_pylist(), strict=True):
                hits.setdefault(shard, set()).add(offset)
        self.removed.adopted += sorted(shard for shard in hits if shard.startswith(LANDING))
        ours = {shard: offsets for shard, offsets in sorted(hits.items()) if not shard.startswith(LANDING)}
        return {shard: rewrite_shard(self.lake, shard, offsets, folder) for shard, offsets in ours.items()}

    def _part(self, table: str, path: str, shards: Mapping[str, RewrittenShard], folder: str) -> "_Part":
        names = read_columns(self.lake, path, self.key, ["uid", *(["shard"] if shards else [])])
        with named_if_unreadable(path, self.key):
            meta = parts.read_meta(self.lake.storage, path)
            if meta is None:
                raise OSError("its footer has no account of rows")
        hit = pc.is_in(names["uid"], value_set=self.uids)
        moved = pc.is_in(names["shard"], value_set=pa.array(list(shards), pa.string())) if shards else hit
        if not pc.any(pc.or_(hit, moved)).as_py():
            return _Part(path, meta)
        rows = conform(table, read_columns(self.lake, path, self.key)).filter(pc.invert(hit))
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


def _less(named: Committed, made: Sequence[_Part], removed: int) -> Committed:
    content = short_sha256("".join(part.meta.content for part in made))
    return replace(named, content=content, rows=named.rows - removed, dropped=_dropped(named.dropped, removed))


def _dropped(dropped: Mapping[str, int], removed: int) -> Mapping[str, int]:
    return {**dropped, TAKEDOWN: dropped.get(TAKEDOWN, 0) + removed} if removed else dropped


def _moved(rows: pa.Table, shards: Mapping[str, RewrittenShard]) -> pa.Table:
    places = [
        (shards[shard].path, shards[shard].offsets[offset]) if shard in shards else (shard, offset)
        for shard, offset in zip(rows["shard"].to_pylist(), rows["offset"].to_pylist(), strict=True)
    ]
    columns = {"shard": [shard for shard, _ in places], "offset": [offset for _, offset in places]}
    for name, values in columns.items():
        i = rows.schema.get_field_index(name)
        rows = rows.set_column(i, rows.schema.field(i), pa.array(values, rows.schema.field(i).type))
    return rows
