"""Measures how well the texts of a key match their images."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.experts.encoder import DualEncoder
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.pictures import COLUMNS, picture
from kale_tasks.settings.model import Settings

_READERS = 8  # threads that wait for the store
# Stage and column of each kind of text in the metrics.
_TEXTS = {
    "alt-text": (1, "alt_text"),
    "dense": (1, "dense_caption"),
    "stage 1": (1, "caption"),
    "stage 2": (2, "caption"),
}
Matched = Mapping[str, Mapping[str, float | None]]


def matched(lake: Lake, settings: Settings, images: Snapshot, captions: pa.Table) -> Matched:
    """Return for each kind of text its mean cosine with its own image, and its recall@1 within the sample."""
    encoder, most = DualEncoder(settings.quality.encoder), settings.quality.encoder_rows
    found: dict[str, Mapping[str, float | None]] = {}
    for stage in (1, 2):
        rows = captions.filter(pc.field("stage") == stage).slice(0, most).to_pylist()
        seen = dict(_images(lake, images, [row["uid"] for row in rows]))
        shown = [row for row in rows if row["uid"] in seen]
        pictures = encoder.images([seen[row["uid"]] for row in shown]) if shown else None
        for source, (of_stage, column) in _TEXTS.items():
            if of_stage == stage:
                found[source] = _figures(encoder, pictures, [row[column] or "" for row in shown])
    return found


def _figures(encoder: DualEncoder, pictures: Any, texts: Sequence[str]) -> dict[str, float | None]:
    if pictures is None:
        return {"image_score": None, "own_image_share": None}
    similarity = encoder.texts(texts) @ pictures.T
    own = similarity.diagonal()
    return {
        "image_score": round(float(own.mean()), 4),
        "own_image_share": round(float((own >= similarity.max(1).values).float().mean()), 4),
    }


def _images(lake: Lake, images: Snapshot, uids: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if uids:
        wanted = set(uids)
        known = images.between(min(uids), max(uids), COLUMNS).to_pylist()
        rows = [row for row in known if row["uid"] in wanted]
        with ThreadPoolExecutor(_READERS) as pool:
            for row, found in zip(rows, pool.map(partial(picture, lake), rows), strict=True):
                if found:
                    yield row["uid"], found
