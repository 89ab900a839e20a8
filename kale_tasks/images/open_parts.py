"""What is known of each pair before anything is fetched: adopted, carried over from the run before, or still wanted."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from kale_tasks.contract.step import Chunk, Quarantined, part_span
from kale_tasks.images.adopt import Place, Tars, tar_files
from kale_tasks.images.decode_pool import Answer, Pool
from kale_tasks.images.fetch_loop import Batch, Row, described, matches
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.images.spool import Spool
from kale_tasks.lake.shards import LANDING, Span, read_image
from kale_tasks.lake.snapshot import Rows
from kale_tasks.runner.run import Run

_PAIR = ["uid", "url", "source", "sha256", "face_boxes", "split"]


class Batches:
    """The batches of a chunk."""

    def __init__(self, run: Run, chunk: Chunk, pool: Pool) -> None:
        self._run, self._chunk, self._pool = run, chunk, pool
        self._pairs = run.rows("pairs")
        entries = tar_files(run.lake, run.key)
        self.fetches = not entries or run.settings.images.fetch_missing
        self._tars = Tars(run.lake, run.folder, entries)
        self._tars.index(chunk.index)

    def each(self, numbers: Sequence[int]) -> Iterator[Batch]:
        """The batches of some parts."""
        return (self._batch(number) for number in numbers)

    def _batch(self, number: int) -> Batch:
        pairs = self._pairs.read(*part_span(self._run.settings, self._chunk, number), _PAIR).to_pylist()
        spool = Spool(Path(self._run.settings.images.spool, self._run.fingerprint, f"part-{number:05d}"))
        batch = Batch(number, len(pairs), spool, [])
        first, last = pairs[0]["uid"], pairs[-1]["uid"]
        before, out = self._before(first, last)
        adopted = []
        for pair in pairs:
            known = before.get(pair["uid"], {})
            if pair["uid"] in self._places:
                adopted.append(pair)
            elif pair["uid"] in out:
                batch.quarantine.append(out[pair["uid"]])
            elif known and not _again(known):
                batch.rows.append({**known, "split": pair["split"]})
            elif self.fetches:
                batch.wanted.append({**pair, "tried": known.get("attempts") or 0})
            else:
                self._missing(batch, pair)
        self._adopt(batch, adopted)
        return batch

    def _before(self, first: str, last: str) -> tuple[Mapping[str, Row], Mapping[str, Quarantined]]:
        """Rows and quarantined placeholders of the standing run, if it stored images as this one does."""
        run = self._run
        if run.standing is None or run.standing.config != json.dumps(run.config, sort_keys=True):
            return {}, {}
        rows = Rows(run.lake, "images", run.key).between(first, last).drop_columns(["key"]).to_pylist()
        known = {row["uid"]: row for row in rows if not (row["shard"] or "").startswith(LANDING)}
        return known, {q.uid: q for q in self._quarantined if first <= q.uid <= last}

    @cached_property
    def _quarantined(self) -> list[Quarantined]:
        where = f"reason == '{Reason.PLACEHOLDER}'"
        rows = self._run.lake.arrow("quarantine", self._run.key, where=where, slice_={"step": self._run.step.name})
        return [Quarantined(r["uid"], r["reason"], r["detail"], r["attempts"]) for r in rows.to_pylist()]

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        ends = [
            self._pairs.read(i, i + 1, ["uid"])["uid"][0].as_py() for i in (self._chunk.start, self._chunk.stop - 1)
        ]
        return self._tars.between(*ends)

    @cached_property
    def _broken(self) -> Mapping[str, str]:
        return self._tars.broken()

    def _missing(self, batch: Batch, pair: Row) -> None:
        why = self._broken.get(PurePosixPath(pair["source"] or "").stem)
        if why:
            batch.quarantine.append(Quarantined(pair["uid"], Reason.TAR_BROKEN, why, 0))
        else:
            batch.rows.append(
                {
                    "uid": pair["uid"],
                    "split": pair["split"],
                    "status": "failed",
                    "reason": Reason.NOT_IN_TARS,
                    "attempts": 0,
                }
            )

    def _adopt(self, batch: Batch, pairs: Sequence[Row]) -> None:
        for pair, found in zip(pairs, self._pool.threads.map(self._checked, pairs), strict=True):
            if isinstance(found, Lost):
                batch.quarantine.append(Quarantined(pair["uid"], found.reason, found.detail, 0))
            else:
                batch.rows.append(found)

    def _checked(self, pair: Row) -> dict[str, Any] | Lost:
        place = self._places[pair["uid"]]
        span = Span(place.shard, place.offset, place.length)
        image = read_image(self._run.lake, *span)
        try:
            answer, _ = self._pool.decode(image, keep=True)
        except Lost as lost:
            return lost
        return _adopted(pair, place.sha256 or hashlib.sha256(image).hexdigest(), span, answer)


def _adopted(pair: Row, sha256: str, span: Span, answer: Answer) -> dict[str, Any]:
    known = {"uid": pair["uid"], "split": pair["split"], "status": "ok", "attempts": 0, **span._asdict()}
    hashes = {"sha256": sha256, "sha256_matches": matches(sha256, pair["sha256"])}
    return known | hashes | described(answer)


def _again(row: Row) -> bool:
    return row["status"] != "ok" and (row["reason"] == Reason.NOT_IN_TARS or Reason(row["reason"]).transient)
