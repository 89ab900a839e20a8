"""Fetches the images of parts: many on their way at once, across the borders of parts, each finished as a whole."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kale_tasks.contract.step import Quarantined
from kale_tasks.images.decode_pool import Answer, Pool
from kale_tasks.images.fetch import Fetcher, Got
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.images.spool import Spool
from kale_tasks.runner.run import Run

Row = Mapping[str, Any]


@dataclass
class Batch:
    """One part on its way."""

    number: int
    rows_in: int
    spool: Spool
    wanted: list[Row]  # pairs to be fetched; `tried` tells how often they were before
    rows: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    left: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class _Rate:
    """So much a second since the beginning, told as changes, since progress sums what it is told."""

    def __init__(self) -> None:
        self._began, self._total, self._said = time.monotonic(), 0.0, 0.0

    def more(self, amount: float) -> float:
        """The change of the rate with so much more."""
        self._total += amount
        before, self._said = self._said, self._total / max(time.monotonic() - self._began, 0.1)
        return self._said - before


class Crew:
    """Fetches and decodes the rows of batches, in their order as far as hosts allow."""

    def __init__(self, batches: Iterator[Batch], fetcher: Fetcher, pool: Pool, run: Run, width: int) -> None:
        self._fetcher, self._pool, self._run = fetcher, pool, run
        self._rows = self._each(batches)
        self._finished: asyncio.Queue[Batch | BaseException | None] = asyncio.Queue()
        self._images, self._megabytes = _Rate(), _Rate()
        self._working = width
        self.came: list[str] = []  # an address that an image came from lately
        self._tasks = [asyncio.create_task(self._work()) for _ in range(width)]

    async def next(self) -> Batch | None:
        """The next finished batch; None when there are no more."""
        done = await self._finished.get()
        if isinstance(done, BaseException):
            raise done
        return done

    def _each(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Row]]:
        for batch in batches:
            known = batch.spool.told
            batch.rows += [dict(row) for row in known.values()]
            wanted = [row for row in batch.wanted if row["uid"] not in known]
            batch.left = len(wanted)
            if not wanted:
                self._finished.put_nowait(batch)
            yield from ((batch, row) for row in wanted)

    async def _work(self) -> None:
        try:
            for batch, row in self._rows:
                batch.rows.append(await self._one(batch, row))
                batch.left -= 1
                if not batch.left:
                    self._finished.put_nowait(batch)
        except BaseException as error:
            self._finished.put_nowait(error)
            raise
        finally:
            self._working -= 1
            if not self._working:
                self._finished.put_nowait(None)

    async def _one(self, batch: Batch, row: Row) -> dict[str, Any]:
        async with self._fetcher.fetch(row["url"]) as got:
            made = {"uid": row["uid"], "split": row["split"], "attempts": got.attempts + row["tried"]}
            made |= {"http_status": got.http_status, "final_url": got.final_url}
            try:
                done, image = await self._decoded(got, row)
            except Lost as lost:
                made |= {"status": "failed", "reason": lost.reason, "detail": lost.detail}
                image = b""
            else:
                made |= done
                self.came = [str(got.final_url)]
        batch.reasons[made.get("reason") or "ok"] += 1
        rates = {"images_per_s": self._images.more(1), "mb_per_s": self._megabytes.more(len(got.body) / 1e6)}
        self._run.progress.advance(0, resumed=False, **rates, **{str(made.get("reason") or "ok"): 1.0})
        if not (made["status"] == "failed" and Reason(made["reason"]).transient):
            batch.spool.add(made, image)  # what may heal is asked for again after a crash
        return made

    async def _decoded(self, got: Got, row: Row) -> tuple[dict[str, Any], bytes]:
        if got.reason is not None:
            raise Lost(got.reason, got.detail)
        loop = asyncio.get_running_loop()
        sha256, answer, image = await loop.run_in_executor(
            self._pool.threads, self._hashed, got.body, row["face_boxes"]
        )
        for name, seconds in answer[5].items():
            self._run.measure(f"{name}_seconds", seconds)
        known = described(answer) | {"sha256": sha256, "sha256_matches": matches(sha256, row["sha256"])}
        return known | {"status": "ok", "fetched_at": datetime.now(UTC).isoformat()}, image

    def _hashed(self, body: bytes, boxes: Any) -> tuple[str, Answer, bytes]:
        return hashlib.sha256(body).hexdigest(), *self._pool.decode(body, boxes or ())


def described(answer: Answer) -> dict[str, Any]:
    """What a worker said of an image, as columns."""
    mime, width, height, phash, flags, _ = answer
    return {"mime": mime, "width": width, "height": height, "phash": phash, "flags": flags}


def matches(sha256: str | None, claimed: str | None) -> bool | None:
    """Whether the hash is the claimed one; None without a claim."""
    return sha256 == claimed.lower() if claimed and sha256 else None
