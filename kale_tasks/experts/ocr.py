"""The expert `rapidocr`: reads the text in an image."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kale_tasks.experts.base import VALUES, Expert, ExpertRow, Loaded
from kale_tasks.experts.packages import needs, packaged

if TYPE_CHECKING:
    from PIL.Image import Image


class Ocr(Loaded[Any], Expert):
    """Reads lines of text, a value each, from top to bottom; `data` has its box as fractions of the image.

    Railings, windows and leaves pass for single letters and rows of one letter: lines need `min_letters` different
    letters or digits. Images are scaled down to `side` first.
    """

    def __init__(self, min_score: float = 0.75, min_letters: int = 3, side: int = 768) -> None:
        self._min_score, self._min_letters, self._side = min_score, min_letters, side

    @property
    def model(self) -> str:
        """The package that has the models."""
        return packaged("rapidocr", "rapidocr")

    def load(self) -> Any:
        """Load detection and recognition."""
        with needs("rapidocr"):
            from rapidocr import RapidOCR
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        return RapidOCR(params={"Global.log_level": "error", **threads})

    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return the lines of each image."""
        found = [{"uid": row.uid, **line} for row in rows if row.image for line in self._lines(row.image)]
        return pa.Table.from_pylist(found, schema=VALUES)

    def _lines(self, image: "Image") -> list[dict[str, Any]]:
        small = image.copy()
        small.thumbnail((self._side, self._side))
        read = self.loaded(np.asarray(small)[:, :, ::-1])  # it expects blue first
        lines = zip(read.txts or (), read.scores or (), () if read.boxes is None else read.boxes, strict=True)
        return [
            {"text": text, "score": round(float(score), 4), "data": _data(corners, small.size)}
            for text, score, corners in lines
            if score >= self._min_score and len({c for c in text.lower() if c.isalnum()}) >= self._min_letters
        ]


def _data(corners: Any, size: tuple[int, int]) -> str:
    (left, top), (right, bottom) = np.min(corners, 0) / size, np.max(corners, 0) / size
    return json.dumps({"box": [round(float(edge), 4) for edge in (left, top, right, bottom)]})
