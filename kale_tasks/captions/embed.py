"""The pass `embed`: a vector of the image, or of a text, of each row."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from kale_tasks.captions.chunk import ChunkRows
from kale_tasks.captions.passes import LocalPass, RowTexts
from kale_tasks.captions.rows import Row
from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import open_embedder
from kale_tasks.experts.host import Host, HostedRow
from kale_tasks.recipes.passes import EmbedPass
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.selection.vectors import in_steps


class EmbedStep(LocalPass):
    """Encodes rows in a process of its own, as an expert that looks at images does."""

    def __init__(self, recipe: Recipe, name: str) -> None:
        super().__init__(recipe, name)
        self._pass = cast(EmbedPass, self.one)
        self._embedder = open_embedder(self._pass.embed, self._pass.options)
        if self._embedder.reads_images == bool(self._pass.text):
            wanted = "takes no `text`" if self._embedder.reads_images else "needs `text`, the column or pass to encode"
            raise BadConfig(f"The pass '{name}' {wanted}: see `kale recipe lint`.")

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Start the embedder."""
        with Host("embedder", self._pass.embed, self._pass.options) as self._host:
            yield

    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Return a vector for each row that has what is encoded."""
        began, text = time.perf_counter(), self._pass.text
        if text:
            sent = [HostedRow(row.uid, read) for row in rows if (read := row.first(text))]
        else:
            images = work.image_bytes([row.image for row in rows])
            sent = [HostedRow(row.uid, "", data) for row, data in zip(rows, images, strict=True)]
        answers = self._host.ask(sent)
        work.run.measure("expert_seconds", time.perf_counter() - began)
        dropped["nothing_to_encode"] += len(rows) - len(sent)
        dropped.update(answers.failed.values())
        models = [self._embedder.model]
        return [
            self.text_row(work.run.key, uid, "", models=models, vector=in_steps(vector))
            for uid, vector in answers.vectors.items()
        ]
