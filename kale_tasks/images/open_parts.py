"""Parts in progress: opened with what is known of each pair, closed with their images stored in a shard."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from kale_tasks.contract.step import part_span
from kale_tasks.contract.types import Chunk, Part, Quarantined
from kale_tasks.errors import BadData
from kale_tasks.images.adopt import AdoptedImage, ArchiveIndex
from kale_tasks.images.decode import FACES_BLURRED, ImageInfo
from kale_tasks.images.decode_limits import limits_raised
from kale_tasks.images.decode_pool import DecodePool
from kale_tasks.images.duplicates import EvaluationSet
from kale_tasks.images.outcomes import outcome_counts
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.images.refused import RefusedImages
from kale_tasks.images.spool import Spool
from kale_tasks.imaging import SNIFFED_BYTES, image_type
from kale_tasks.lake.archives import archive_files
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import LANDING, TarWriter, content_name, read_image
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import read_committed

Row = Mapping[str, Any]
EVALUATION_IMAGE = "evaluation_image"
_PAIR_COLUMNS = ["uid", "url", "source", "sha256", "face_boxes", "split"]
_METADATA = ("uid", "sha256", "width", "height", "mime", "phash", "final_url")  # of an image's JSON in a shard


@dataclass
class OpenPart:
    """A part in progress: its finished rows so far, and the pairs that are still to be fetched."""

    number: int
    rows_in: int
    spool: Spool
    to_fetch: list[Row] = field(default_factory=list)  # pairs, with the `attempts` of earlier runs
    rows: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    unfinished: int = 0  # pairs of `to_fetch` that have no row yet
    outcomes: Counter[str] = field(default_factory=Counter)  # of the fetched pairs, by reason or "ok"


class PartOpener:
    """Opens the parts of a chunk: adopts images, carries over committed rows, and lists what is to be fetched."""

    def __init__(self, run: Run, chunk: Chunk, pool: DecodePool) -> None:
        self._run, self._chunk, self._pool = run, chunk, pool
        self._pairs = run.rows("pairs")
        entries = archive_files(run.lake, run.key)
        self.fetches = not entries or run.settings.images.fetch_missing
        self._tars = ArchiveIndex(run.lake, run.folder, entries)
        self._tars.build(chunk.index)

    def open(self, number: int) -> OpenPart:
        """Open one part by its number."""
        pairs = self._pairs.read(*part_span(self._run.settings, self._chunk, number), _PAIR_COLUMNS).to_pylist()
        spool = Spool(Path(self._run.settings.images.spool, self._run.fingerprint, f"part-{number:05d}"))
        part = OpenPart(number, len(pairs), spool)
        committed, placeholders = self._committed(pairs[0]["uid"], pairs[-1]["uid"])
        adopted = []
        for pair in pairs:
            uid = pair["uid"]
            row = committed.get(uid)
            if uid in self._adopted:
                adopted.append(pair)
            elif uid in placeholders:
                part.quarantine.append(placeholders[uid])
            elif row and not self._tried_again(row):
                part.rows.append({**row, "split": pair["split"]})
            elif not self.fetches:
                self._add_missing(part, pair)
            elif uid in spool.rows and not self._tried_again(spool.rows[uid]):
                part.rows.append(dict(spool.rows[uid]))
            else:
                part.to_fetch.append({**pair, "attempts": (row or {}).get("attempts") or 0})
        self._adopt(part, adopted)
        part.unfinished = len(part.to_fetch)
        return part

    def _tried_again(self, row: Row) -> bool:
        if row["status"] == "ok":
            return False
        passing = row["reason"] == Reason.NOT_IN_TARS or Reason(row["reason"]).transient
        return passing or limits_raised(row, self._run.settings.images.decode)

    def _committed(self, first: str, last: str) -> tuple[Mapping[str, Row], Mapping[str, Quarantined]]:
        """Rows and quarantined placeholders of the committed run, if its settings are those of this run."""
        if not self._same_settings:
            return {}, {}
        rows = self._readable(first, last)
        fetched = {row["uid"]: row for row in rows if not (row["shard"] or "").startswith(LANDING)}
        return fetched, {q.uid: q for q in self._placeholders if first <= q.uid <= last}

    @cached_property
    def _same_settings(self) -> bool:
        run = self._run
        made = run.previous and read_committed(run.lake.storage, "images", run.key, run.previous)
        configs = [json.dumps(one.config, sort_keys=True) for one in (made, run) if one]
        return len(configs) == 2 and configs[0] == configs[1]

    def _readable(self, first: str, last: str) -> list[Row]:
        """Return the committed rows between two uids, without those in damaged files or of missing shards."""
        found: list[Row] = []
        for file in self._committed_files:
            with suppress(BadData):
                found += file.between(first, last).drop_columns(["key"]).to_pylist()
        return [row for row in found if not row["shard"] or self._has_shard(row["shard"])]

    @cached_property
    def _committed_files(self) -> Sequence[Snapshot]:
        snapshot = Snapshot.open(self._run.lake, Partition("images", self._run.key))
        return [replace(snapshot, files=(file,)) for file in snapshot.files]

    @cache  # noqa: B019 - one opener per chunk
    def _has_shard(self, shard: str) -> bool:
        return shard.startswith(LANDING) or self._run.lake.storage.exists(shard)

    @cached_property
    def _placeholders(self) -> list[Quarantined]:
        where = f"reason == '{Reason.PLACEHOLDER}'"
        try:
            rows = self._run.lake.arrow("quarantine", self._run.key, where=where, slice_={"step": self._run.step.name})
        except BadData:  # damaged: these addresses are fetched again
            return []
        return [Quarantined(r["uid"], r["reason"], r["detail"], r["attempts"]) for r in rows.to_pylist()]

    @cached_property
    def _adopted(self) -> Mapping[str, AdoptedImage]:
        if self._tars.empty:
            return {}
        pairs = self._pairs.read(self._chunk.start, self._chunk.stop, ["uid", "url"])
        return self._tars.find(dict(zip(pairs["uid"].to_pylist(), pairs["url"].to_pylist(), strict=True)))

    @cached_property
    def _broken_tars(self) -> Mapping[str, str]:
        return self._tars.broken()

    def _add_missing(self, part: OpenPart, pair: Row) -> None:
        """Record a pair that no tar holds and that is not fetched."""
        uid = pair["uid"]
        if error := self._broken_tars.get(PurePosixPath(pair["source"] or "").stem):
            part.quarantine.append(Quarantined(uid, Reason.TAR_BROKEN, error, 0))
        else:
            known = {"uid": uid, "split": pair["split"], "status": "failed", "attempts": 0}
            part.rows.append(known | {"reason": Reason.NOT_IN_TARS})

    def _adopt(self, part: OpenPart, pairs: Sequence[Row]) -> None:
        for pair, found in zip(pairs, self._pool.threads.map(self._adopted_row, pairs), strict=True):
            if isinstance(found, ImageError):
                part.quarantine.append(Quarantined(pair["uid"], found.reason, found.detail, 0))
                continue
            row, blurred = found
            part.rows.append(row)
            if blurred:
                part.spool.add(row, blurred)

    def _adopted_row(self, pair: Row) -> tuple[dict[str, Any], bytes] | ImageError:
        """Return the row of an adopted image, and its bytes if they are stored with faces blurred instead of kept."""
        span, sha256 = self._adopted[pair["uid"]]
        image = read_image(self._run.lake, *span)
        faces = self._run.settings.images.decode.faces
        boxes = pair["face_boxes"] if faces != "off" else None
        try:
            info, blurred = self._pool.decode(image, boxes or (), keep=not boxes and faces != "detect")
            if not boxes and FACES_BLURRED not in info.flags and faces == "detect":
                info, blurred = self._pool.decode(image, keep=True)  # without faces, it stays as it is
        except ImageError as error:
            return error
        row = {"uid": pair["uid"], "split": pair["split"], "status": "ok", "attempts": 0}
        row |= image_columns(info, sha256 or hashlib.sha256(image).hexdigest(), pair["sha256"])
        return (row, blurred) if blurred else ({**row, **span._asdict()}, b"")


def image_columns(info: ImageInfo, sha256: str, claimed: str | None) -> dict[str, Any]:
    """Return the columns that describe an image; `claimed` is the hash that the source gives for it, if any."""
    columns = {name: getattr(info, name) for name in ("mime", "width", "height", "phash", "flags")}
    return columns | {"sha256": sha256, "sha256_matches": sha256 == claimed.lower() if claimed else None}


def close_part(run: Run, part: OpenPart, evaluation: EvaluationSet, refused: RefusedImages) -> Part:
    """Put the new images of a part into a shard and return its rows in uid order, without those that are refused."""
    found = sorted(part.rows, key=lambda row: row["uid"])
    rules = refused.rules(found)
    rows = [row for row, rule in zip(found, rules, strict=True) if not rule]
    dropped = Counter(rule for rule in rules if rule)
    shards = _store_images(run, part, rows)
    for row in rows:
        row["key"] = run.key
        if isinstance(row.get("fetched_at"), str):
            row["fetched_at"] = datetime.fromisoformat(row["fetched_at"])
        if row["status"] == "ok" and evaluation.contains(row["phash"]) and EVALUATION_IMAGE not in row["flags"]:
            row["flags"] = [*row["flags"], EVALUATION_IMAGE]
    table = pa.Table.from_pylist(rows, schema=TABLES["images"].arrow)
    counts = outcome_counts(rows)
    return Part(part.number, table, part.rows_in, dropped, part.quarantine, shards=shards, metrics=counts)


def _store_images(run: Run, part: OpenPart, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Put the new images of a part as a shard, named by its content: a late attempt cannot overwrite it."""
    new = [row for row in rows if row["status"] == "ok" and not row.get("shard")]
    if not new:
        return []
    path = part.spool.shard_path
    offsets = _write_shard(path, ((row, part.spool.image(row["uid"])) for row in new))
    name = f"{run.folder}/{content_name(f'shard-{part.number:05d}', path)}"
    run.measure("bytes", path.stat().st_size)
    run.lake.storage.put(name, path)
    path.unlink()
    for row in new:
        row["shard"] = name
        row["offset"], row["length"] = offsets[row["uid"]]
    return [name]


def _write_shard(path: Path, images: Iterable[tuple[Row, bytes]]) -> dict[str, tuple[int, int]]:
    """Write `<uid>.jpg` and `<uid>.json` for each image; return the offset and length of each image by uid."""
    places = {}
    with TarWriter(path) as tar:
        for row, image in images:
            mime = image_type(image[:SNIFFED_BYTES]) or ""  # not a JPEG if received bytes are stored
            extension = "jpg" if mime == "image/jpeg" else mime.removeprefix("image/")
            places[row["uid"]] = tar.add(f"{row['uid']}.{extension}", image), len(image)
            metadata = {name: row.get(name) for name in _METADATA}
            tar.add(f"{row['uid']}.json", json.dumps(metadata, ensure_ascii=False, sort_keys=True).encode())
    return places
