"""The images step: every pair ends as a stored image, as a failure with its reason, or in quarantine."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from kale_tasks.contract.step import Input, Step, committed_input, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.experts.faces import Faces
from kale_tasks.images.decode_pool import DecodePool
from kale_tasks.images.duplicates import EvaluationSet, finalize
from kale_tasks.images.open_parts import PartOpener, close_part
from kale_tasks.images.outcomes import require_images, summary
from kale_tasks.images.refused import RefusedImages
from kale_tasks.lake.archives import TARS, archives_content
from kale_tasks.lake.evaluation import evaluation_content
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.receipts import Receipt
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import read_sealed
from kale_tasks.settings import Settings


class Images(Step):
    """`pairs` to `images`: adopted from tars of the landing, or fetched."""

    name: ClassVar[str] = "images"
    version: ClassVar[int] = 5
    table: ClassVar[str] = "images"

    def config(self, settings: Settings) -> Mapping[str, Any]:
        """Return the settings that decide which images are stored, and how."""
        detector = {"detector": Faces().identity} if settings.images.decode.faces == "detect" else {}
        return {
            **settings.images.semantic(), "part_rows": settings.parts.part_rows, "limit": settings.limit, **detector
        }  # fmt: skip

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        """Return the content of the pairs, of the tars and of the evaluation set."""
        tars, evaluation = archives_content(lake, key), evaluation_content(lake)
        return {
            "pairs": committed_input(lake, "pairs", key),
            **({TARS: tars} if tars else {}),
            **({"evaluation": evaluation} if evaluation else {}),
        }

    def chunks(self, run: Run) -> Sequence[Chunk]:
        """Cut the pairs, in uid order, into chunks of whole parts."""
        return row_chunks(run.settings, run.rows("pairs").count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        """Adopt or fetch the images of some parts, reusing what an interrupted attempt left on this machine."""
        from kale_tasks.images.fetch_loop import fetch_parts

        with DecodePool(run.settings.images.decode) as pool:
            with ThreadPoolExecutor() as at_once:  # a store may take long to answer
                lists, archives = at_once.submit(RefusedImages, run.lake), at_once.submit(PartOpener, run, chunk, pool)
                evaluation = EvaluationSet(run.lake, pool, run.settings.images.near_bits)
            refused, opener = lists.result(), archives.result()
            parts = map(opener.open, numbers)
            for part in fetch_parts(run, parts, pool, refused) if opener.fetches else parts:
                with part.spool:
                    yield close_part(run, part, evaluation, refused)
                    part.spool.remove()

    def finalize(self, run: Run, receipts: Mapping[int, Receipt]) -> Iterator[Part]:
        """Quarantine placeholders and flag near duplicates of the whole key; a key without any image is an error."""
        require_images(receipts.values())
        return finalize(run, receipts)

    def summary(self, run: Run) -> str:
        """Say how many images are stored: a row of a failed image is kept, so the number of rows does not."""
        sealed = read_sealed(run.lake.storage, run.folder)
        return summary(sealed.metrics) if sealed and sealed.metrics else ""
