"""An expert that needs no model: it says whether an image is bright or dark."""

from collections.abc import Sequence

import pyarrow as pa

from kale_tasks.experts.base import VALUES, Expert, ExpertRow


class Brightness(Expert):
    """Finds one value for each image: `bright` or `dark`, scored by its mean brightness."""

    def __init__(self, threshold: float = 96.0) -> None:
        self.threshold = threshold

    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return the value of each row that has an image."""
        found = []
        for row in rows:
            if row.image is not None:
                histogram = row.image.convert("L").histogram()
                mean = sum(level * count for level, count in enumerate(histogram)) / sum(histogram)
                word = "bright" if mean > self.threshold else "dark"
                found.append({"uid": row.uid, "text": word, "score": mean / 255})
        return pa.Table.from_pylist(found, schema=VALUES)
