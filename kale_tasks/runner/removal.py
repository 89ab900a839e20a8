"""Removes rows that were taken down from a sealed run: their files are written again without them."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.contract.step import Step
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.parts import LargeFile, PartFile, PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import LANDING
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import TAKEDOWN, Matcher
from kale_tasks.runner.rewrite_files import RewrittenShard, read_columns, read_groups, rewrite_shard
from kale_tasks.runner.seal import SealedRun
from kale_tasks.runner.writer import conform, run_folder

_COLUMNS = ("uid", "url", "final_url", "sha256", "phash", "alt_text", "text", "dense_caption", "caption")


@dataclass
class Removed:
    """What was removed from a key."""

    rows: dict[str, int] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)  # files to delete once no reader needs them
    adopted: list[str] = field(default_factory=list)  # shards of the landing area, which its owner must clean
    lessons: dict[str, list[str]] = field(default_factory=dict)  # content of stage-1 captions with a row, by recipe


def tables_with_uids() -> list[str]:
    """The tables whose rows a takedown can name."""
    return [name for name, spec in TABLES.items() if spec.arrow.get_field_index("uid") >= 0]


def matching_uids(lake: Lake, key: str, matcher: Matcher, sealed: SealedRun | None = None) -> pa.Array:
    """Return the uids of a key whose row matches in any table, or in the files of a run that is not committed yet."""
    found: list[pa.ChunkedArray] = [pa.chunked_array([], pa.string())]
    for rows in _slim_rows(lake, key, sealed):
        found.append(rows["uid"].filter(matcher.matches(rows)))
    return pc.unique(pa.chunked_array([chunk for array in found for chunk in array.chunks], pa.string()))


def remove_rows(lake: Lake, step: Step, sealed: SealedRun, uids: pa.Array, removed: Removed) -> SealedRun:
    """Write the files of a run that contain some uids again without them, and return the revised run.

    Repeating it writes the same files. What it replaces is added to `removed`.
    """
    folder = f"-{short_sha256(''.join(sorted(uids.to_pylist())), 8)}"
    shards = _shards(lake, step, sealed, uids, folder, removed)
    files: dict[str, list[PartFile]] = {}
    for table, known in sealed.files.items():
        rewrite = _Rewrite(lake, table, sealed, uids, shards if table == "images" else {}, folder)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(rewrite.file, known))
        removed.replaced += [old.path for old, new in zip(known, made, strict=True) if new != old]
        if taken := sum(file.rows for file in known) - sum(file.rows for file in made if file):
            removed.rows[table] = removed.rows.get(table, 0) + taken
        files[table] = [file for file in made if file]
    removed.replaced += list(shards)
    return sealed if files == sealed.files else _revised(step, sealed, files, shards)


def _revised(
    step: Step, sealed: SealedRun, files: dict[str, list[PartFile]], shards: Mapping[str, RewrittenShard]
) -> SealedRun:
    rows = sum(file.rows for file in files.get(step.table, ()))
    taken = sealed.rows - rows
    dropped = {**sealed.dropped, TAKEDOWN: sealed.dropped.get(TAKEDOWN, 0) + taken} if taken else sealed.dropped
    content = short_sha256("".join(file.sha256 for table in sorted(files) for file in files[table]))
    named = sorted({shards[shard].path if shard in shards else shard for shard in sealed.shards})
    return sealed.model_copy(
        update={"rows": rows, "dropped": dropped, "content": content, "files": files, "shards": named}
    )


def _slim_rows(lake: Lake, key: str, sealed: SealedRun | None) -> Iterator[pa.Table]:
    for table in tables_with_uids():
        columns = [name for name in _COLUMNS if TABLES[table].arrow.get_field_index(name) >= 0]
        # A run that is about to be committed may replace files that cannot be read.
        replaces = sealed is not None and table in sealed.files
        paths = sealed.paths(table) if sealed and replaces else [file.path for file in lake.files(table, key)]
        for path in paths:
            yield from read_groups(lake, path, key, columns)


def _shards(
    lake: Lake, step: Step, sealed: SealedRun, uids: pa.Array, folder: str, removed: Removed
) -> dict[str, RewrittenShard]:
    """Rewrite every image shard that contains a removed image."""
    hits: dict[str, set[int]] = {}
    for path in sealed.paths("images") if step.table == "images" else ():
        rows = read_columns(lake, path, sealed.key, ["uid", "shard", "offset"])
        hit = rows.filter(pc.and_(pc.is_in(rows["uid"], value_set=uids), pc.is_valid(rows["shard"])))
        for shard, offset in zip(hit["shard"].to_pylist(), hit["offset"].to_pylist(), strict=True):
            hits.setdefault(shard, set()).add(offset)
    removed.adopted += sorted(shard for shard in hits if shard.startswith(LANDING))
    ours = {shard: offsets for shard, offsets in sorted(hits.items()) if not shard.startswith(LANDING)}
    place = run_folder("images", sealed.key, sealed.fingerprint) + folder
    return {shard: rewrite_shard(lake, shard, offsets, place) for shard, offsets in ours.items()}


@dataclass(frozen=True)
class _Rewrite:
    lake: Lake
    table: str
    sealed: SealedRun
    uids: pa.Array
    shards: Mapping[str, RewrittenShard]
    folder: str

    def file(self, file: PartFile) -> PartFile | None:
        """Return the file without the rows: the same one if it has none of them, None if no row is left."""
        key = self.sealed.key
        names = read_columns(self.lake, file.path, key, ["uid", *(["shard"] if self.shards else [])])
        hit = pc.is_in(names["uid"], value_set=self.uids)
        moved = pc.is_in(names["shard"], value_set=pa.array(list(self.shards), pa.string())) if self.shards else hit
        if not pc.any(pc.or_(hit, moved)).as_py():
            return file
        left = file.rows - pc.sum(hit).as_py()
        if not left:
            return None
        number = int(file.path.rpartition("/")[2].split("-")[1])
        folder = run_folder(self.table, key, self.sealed.fingerprint) + self.folder
        with LargeFile(TABLES[self.table].arrow) as made:
            for rows in read_groups(self.lake, file.path, key):
                kept = conform(self.table, rows.filter(pc.invert(pc.is_in(rows["uid"], value_set=self.uids))))
                made.add(_moved(kept, self.shards) if self.shards else kept)
            return made.put(self.lake.storage, folder, PartMeta(self.sealed.fingerprint, number, left, left))


def _moved(rows: pa.Table, shards: Mapping[str, RewrittenShard]) -> pa.Table:
    places = [
        shards[shard].place(shard, offset) if shard in shards else (shard, offset)
        for shard, offset in zip(rows["shard"].to_pylist(), rows["offset"].to_pylist(), strict=True)
    ]
    columns: Mapping[str, Sequence[object]] = {
        "shard": [shard for shard, _ in places],
        "offset": [offset for _, offset in places],
    }
    for name, values in columns.items():
        i = rows.schema.get_field_index(name)
        rows = rows.set_column(i, rows.schema.field(i), pa.array(values, rows.schema.field(i).type))
    return rows
