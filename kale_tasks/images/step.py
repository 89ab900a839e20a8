"""The images step: every pair ends as a stored image, as a failure with its reason, or in quarantine."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from kale_tasks.contract.step import Chunk, Part, committed_input, row_chunks
from kale_tasks.errors import BadConfig
from kale_tasks.images.adopt import content, tar_files
from kale_tasks.images.decode_pool import Pool
from kale_tasks.images.duplicates import Evaluation, evaluation_content
from kale_tasks.images.fetch import Fetcher
from kale_tasks.images.fetch_loop import Batch, Crew
from kale_tasks.images.finalize import settle
from kale_tasks.images.network_check import alive, dead, once_good, unanswered
from kale_tasks.images.resume import Batches
from kale_tasks.images.web import Web
from kale_tasks.images.write_part import finish
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings

_WIDTH = 4  # addresses looked after at once for each open request: most wait for their host's turn


class Images:
    """`pairs` to `images`: adopted from tars of the landing, or fetched."""

    name: ClassVar[str] = "images"
    version: ClassVar[int] = 1
    table: ClassVar[str] = "images"
    slice: ClassVar[Mapping[str, Any]] = {}
    also: ClassVar[tuple[str, ...]] = ()
    keep: ClassVar[bool] = False

    def config(self, settings: Settings) -> Mapping[str, Any]:
        """How images are taken and stored."""
        return {**settings.images.semantic(), "part_rows": settings.parts.part_rows, "limit": settings.limit}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        """The pairs, and by their names and sizes the tars and the evaluation set."""
        tars, evaluation = tar_files(lake, key), evaluation_content(lake)
        return {
            "pairs": committed_input(lake, "pairs", key),
            **({"tars": content(tars)} if tars else {}),
            **({"evaluation": evaluation} if evaluation else {}),
        }

    def chunks(self, run: Run) -> Sequence[Chunk]:
        """Pairs in uid order, cut evenly."""
        return row_chunks(run.settings, run.rows("pairs").count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        """Adopt and fetch; what a crash left on this machine is used."""
        with Pool(run.settings.images.decode) as pool:
            evaluation = Evaluation(run.lake, pool, run.settings.images.near_bits)
            batches = Batches(run, chunk, pool)
            each = batches.each(numbers)
            for batch in _fetched(run, each, pool) if batches.fetches else each:
                with batch.spool:
                    yield finish(run, batch, evaluation)
                    batch.spool.remove()

    def before_commit(self, run: Run, metas: Mapping[int, PartMeta]) -> Iterator[Part]:
        """Placeholders and near duplicates only show once all parts stand."""
        return settle(run, metas)


def _fetched(run: Run, batches: Iterator[Batch], pool: Pool) -> Iterator[Batch]:
    """The batches with everything fetched that was still wanted."""
    settings = run.settings.images.fetch
    if not settings.contact:
        raise BadConfig("Set images.fetch.contact to a web page or e-mail address where site owners can reach you.")

    async def start() -> tuple[Web, Fetcher, Crew]:
        web = Web(settings, run.measure)
        fetcher = Fetcher(settings, web, run.measure)
        return web, fetcher, Crew(batches, fetcher, pool, run, settings.concurrency * _WIDTH)

    with asyncio.Runner() as runner:
        web, fetcher, crew = runner.run(start())
        try:
            held: list[Batch] = []  # no server answered: let out once one is known to live
            while batch := runner.run(crew.next()):
                held.append(batch)
                known = crew.came or once_good(run) if unanswered(batch) else []
                if known and not runner.run(alive(fetcher, known)):
                    raise dead(batch)
                if known or not unanswered(batch):
                    yield from held
                    held.clear()
            if held:
                raise dead(held[0])
        finally:
            runner.run(web.close())
