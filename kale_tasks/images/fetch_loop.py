"""Fetches the images of parts concurrently, across the borders of parts, and stops when the network is down."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import uvloop

from kale_tasks.errors import BadConfig, Transient
from kale_tasks.images.decode import ImageInfo
from kale_tasks.images.decode_pool import DecodePool
from kale_tasks.images.fetch import ImageFetcher, Response
from kale_tasks.images.fetch_slot import FetchSlot
from kale_tasks.images.open_parts import OpenPart, Row, image_columns
from kale_tasks.images.rate_limit import HostQueues
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.images.refused import RefusedImages
from kale_tasks.images.site_cache import SiteCache
from kale_tasks.images.web import WebClient
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.runner.run import Run
from kale_tasks.urls import normal_url, registered_domain

_T = TypeVar("_T")

_TASKS_PER_REQUEST = 4  # most tasks wait for the request limit of their host
_WAITING_PAIRS = 20_000  # opened ahead, so that workers find other hosts when those of one are busy
_PROBES = 5
_PROBED_PARTS = 20
_NOT_REQUESTED = {Reason.BAD_URL, Reason.PRIVATE_ADDRESS}


def fetch_parts(run: Run, parts: Iterator[OpenPart], pool: DecodePool, refused: RefusedImages) -> Iterator[OpenPart]:
    """Yield the parts, each once all its images are fetched.

    A part for which no server answered is held back until a server that once gave an image is seen to answer; if
    none does, the network is down: raises Transient.
    """
    settings = run.settings.images.fetch
    if not settings.contact:
        raise BadConfig("Set images.fetch.contact to a web page or e-mail address where site owners can reach you.")

    async def start(slot: FetchSlot) -> tuple[WebClient, ImageFetcher, FetchLoop]:
        web = WebClient(settings, run.measure, SiteCache(run.settings.images.spool))
        fetcher = ImageFetcher(settings, web, run.measure, slot)
        return web, fetcher, FetchLoop(run, parts, fetcher, pool, refused)

    with FetchSlot(run.lake.storage, settings.host_concurrency) as slot, _event_loop() as call:
        web, fetcher, loop = call(start(slot))
        try:
            held_back: list[OpenPart] = []
            while part := call(loop.next()):
                held_back.append(part)
                urls = loop.good_urls or _good_urls(run) if _unanswered(part) else []
                if urls and not call(_any_reached(fetcher, urls)):
                    raise _network_down(part)
                if urls or not _unanswered(part):
                    yield from held_back
                    held_back.clear()
            if held_back:
                raise _network_down(held_back[0])
        finally:
            call(web.close())


class FetchLoop:
    """Fetches and decodes the images of parts with a fixed number of concurrent tasks, host by host."""

    def __init__(
        self, run: Run, parts: Iterator[OpenPart], fetcher: ImageFetcher, pool: DecodePool, refused: RefusedImages
    ) -> None:
        self._run, self._fetcher, self._pool, self._refused = run, fetcher, pool, refused
        settings = run.settings.images.fetch
        self._pairs = HostQueues[tuple[OpenPart, Row]](settings.host_concurrency, _WAITING_PAIRS)
        self._finished: asyncio.Queue[OpenPart | BaseException | None] = asyncio.Queue()
        self._began, self._images, self._megabytes = time.monotonic(), 0, 0.0
        self.good_urls: list[str] = []  # the URL of the latest image, if any
        self._running = settings.concurrency * _TASKS_PER_REQUEST
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._running)]
        self._tasks.append(asyncio.create_task(self._open(parts)))

    async def next(self) -> OpenPart | None:
        """Return the next finished part, or None when there are no more."""
        finished = await self._finished.get()
        if isinstance(finished, BaseException):
            raise finished
        return finished

    async def _open(self, parts: Iterator[OpenPart]) -> None:
        """Open parts in a thread, since that reads and adopts images, and queue what they have to fetch."""
        loop = asyncio.get_running_loop()
        try:
            while part := await loop.run_in_executor(None, next, parts, None):
                if not part.to_fetch:
                    self._finished.put_nowait(part)
                for pair in part.to_fetch:
                    host = (normal_url(pair["url"]) or ("",))[0]
                    await self._pairs.put(registered_domain(host), (part, pair))
        except Exception as error:
            self._finished.put_nowait(error)
        await self._pairs.close()

    async def _work(self) -> None:
        try:
            while found := await self._pairs.take():
                host, (part, pair) = found
                part.rows.append(await self._fetch(part, pair))
                part.unfinished -= 1
                if not part.unfinished:
                    self._finished.put_nowait(part)
                await self._pairs.done(host)
        except Exception as error:
            self._finished.put_nowait(error)
        finally:
            self._running -= 1
            if not self._running:
                self._finished.put_nowait(None)

    async def _fetch(self, part: OpenPart, pair: Row) -> dict[str, Any]:
        """Fetch and decode one image and return its row of `images`."""
        async with self._fetcher.fetch(pair["url"]) as response:
            row = {"uid": pair["uid"], "split": pair["split"], "attempts": response.attempts + pair["attempts"]}
            row |= {"http_status": response.http_status, "final_url": response.final_url}
            try:
                columns, image = await self._decode(response, pair)
            except ImageError as error:
                row |= {"status": "failed", "reason": error.reason, "detail": error.detail}
                image = b""
            else:
                row |= columns
                image = b"" if self._refused.rules([row])[0] else image  # not even on this machine's disk
                self.good_urls = [str(response.final_url)]
        outcome = str(row.get("reason") or "ok")
        part.outcomes[outcome] += 1
        self._report(outcome, len(response.body))
        if not (row["status"] == "failed" and Reason(row["reason"]).transient):
            part.spool.add(row, image)  # after a crash, transient failures are tried again
        return row

    def _report(self, outcome: str, size: int) -> None:
        self._images += 1
        self._megabytes += size / 1e6
        seconds = max(time.monotonic() - self._began, 0.1)
        self._run.progress.gauge(images_per_s=self._images / seconds, mb_per_s=self._megabytes / seconds)
        self._run.progress.advance(0, resumed=False, **{outcome: 1.0})

    async def _decode(self, response: Response, pair: Row) -> tuple[dict[str, Any], bytes]:
        if response.reason is not None:
            raise ImageError(response.reason, response.detail)
        loop = asyncio.get_running_loop()
        sha256, info, image = await loop.run_in_executor(
            self._pool.threads, self._hash_and_decode, response.body, pair["face_boxes"]
        )
        for name, seconds in info.seconds.items():
            self._run.measure(f"{name}_seconds", seconds)
        columns = image_columns(info, sha256, pair["sha256"])
        return columns | {"status": "ok", "fetched_at": datetime.now(UTC).isoformat()}, image

    def _hash_and_decode(self, body: bytes, boxes: Any) -> tuple[str, ImageInfo, bytes]:
        return hashlib.sha256(body).hexdigest(), *self._pool.decode(body, boxes or ())


@contextmanager
def _event_loop() -> Iterator[Callable[[Coroutine[Any, Any, _T]], _T]]:
    """Run an event loop in a thread and yield a function that runs a coroutine in it.

    So fetching goes on while the caller finishes a part, uploads it or waits for the store.
    """
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fetch", daemon=True)
    thread.start()

    def call(coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    try:
        yield call
    finally:
        call(_cancel_others())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()


def _unanswered(part: OpenPart) -> bool:
    """Return whether images of a part were requested and no server answered."""
    reasons = [Reason(name) for name in part.outcomes if name != "ok"]
    requested = [reason for reason in reasons if reason not in _NOT_REQUESTED]
    return "ok" not in part.outcomes and bool(requested) and all(reason.unanswered for reason in requested)


async def _any_reached(fetcher: ImageFetcher, urls: Sequence[str]) -> bool:
    for url in urls:
        if await fetcher.reaches(url):
            return True
    return False


def _network_down(part: OpenPart) -> Transient:
    most_common = part.outcomes.most_common(1)[0][0]
    return Transient(
        f"The network seems to be down: none of the servers of {sum(part.outcomes.values())} images of part "
        f"{part.number} answered (most often {most_common}). Check resolver and network, then run again: images "
        "fetched so far are kept."
    )


def _good_urls(run: Run) -> list[str]:
    """Return some URLs that gave images, in this run or the committed one."""
    written = [receipt.files["images"].path for receipt in run.receipts().values() if "images" in receipt.files]
    for path in written[:_PROBED_PARTS]:
        with run.lake.storage.arrow.open_input_file(path) as file:
            if found := _urls_of_images(pq.read_table(file, columns=["status", "final_url"])):
                return found
    if run.previous is not None:
        for rows in Snapshot.open(run.lake, Partition("images", run.key)).batches(["status", "final_url"]):
            if found := _urls_of_images(rows):
                return found
    return []


def _urls_of_images(rows: pa.Table) -> list[str]:
    found = rows.filter(pc.and_(pc.equal(rows["status"], "ok"), pc.is_valid(rows["final_url"])))
    return [str(url) for url in found["final_url"].slice(0, _PROBES).to_pylist()]
