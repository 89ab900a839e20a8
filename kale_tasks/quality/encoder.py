"""Measures how well texts match their images, with an encoder of both such as CLIP or SigLIP."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.models.locate import locate
from kale_tasks.quality.pictures import COLUMNS, picture
from kale_tasks.settings.model import Settings

_BATCH = 32
_READERS = 8  # threads that wait for the store
# Stage and column of each kind of text in the metrics.
_TEXTS = {
    "alt-text": (1, "alt_text"),
    "dense": (1, "dense_caption"),
    "stage 1": (1, "caption"),
    "stage 2": (2, "caption"),
}
Matched = Mapping[str, Mapping[str, float | None]]


def matched(lake: Lake, settings: Settings, key: str, captions: pa.Table) -> Matched:
    """Return for each kind of text its mean cosine with its own image, and its recall@1 within the sample."""
    encoder, most = _Encoder(settings.quality.encoder), settings.quality.encoder_rows
    found: dict[str, Mapping[str, float | None]] = {}
    for stage in (1, 2):
        rows = captions.filter(pc.field("stage") == stage).slice(0, most).to_pylist()
        seen = dict(_images(lake, key, [row["uid"] for row in rows]))
        shown = [row for row in rows if row["uid"] in seen]
        pictures = encoder.images([seen[row["uid"]] for row in shown]) if shown else None
        for source, (of_stage, column) in _TEXTS.items():
            if of_stage == stage:
                found[source] = _figures(encoder, pictures, [row[column] or "" for row in shown])
    return found


def _figures(encoder: "_Encoder", pictures: Any, texts: Sequence[str]) -> dict[str, float | None]:
    if pictures is None:
        return {"image_score": None, "own_image_share": None}
    similarity = encoder.texts(texts) @ pictures.T
    own = similarity.diagonal()
    return {
        "image_score": round(float(own.mean()), 4),
        "own_image_share": round(float((own >= similarity.max(1).values).float().mean()), 4),
    }


def _images(lake: Lake, key: str, uids: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if uids:
        wanted = set(uids)
        known = Snapshot.open(lake, Partition("images", key)).between(min(uids), max(uids), COLUMNS).to_pylist()
        rows = [row for row in known if row["uid"] in wanted]
        with ThreadPoolExecutor(_READERS) as pool:
            for row, found in zip(rows, pool.map(partial(picture, lake), rows), strict=True):
                if found:
                    yield row["uid"], found


class _Encoder:
    """Encodes texts and images as unit vectors."""

    def __init__(self, name: str) -> None:
        import torch
        from transformers import AutoModel, AutoProcessor

        folder = locate(name)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = AutoModel.from_pretrained(folder).to(self._device).eval()
        self._processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
        self._length = self._model.config.text_config.max_position_embeddings

    def texts(self, texts: Sequence[str]) -> Any:
        """Encode texts, truncated to the maximum length of the model."""
        how = {"padding": "max_length", "truncation": True, "max_length": self._length, "return_tensors": "pt"}
        return self._vectors(self._model.get_text_features, texts, lambda some: self._processor(text=some, **how))

    def images(self, images: Sequence[Any]) -> Any:
        """Encode images."""
        read = lambda some: self._processor(images=some, return_tensors="pt")  # noqa: E731
        return self._vectors(self._model.get_image_features, images, read)

    def _vectors(self, features: Any, things: Sequence[Any], read: Any) -> Any:
        import torch

        made = []
        with torch.inference_mode():
            for at in range(0, len(things), _BATCH):
                vectors = features(**read(list(things[at : at + _BATCH])).to(self._device))
                made.append(getattr(vectors, "pooler_output", vectors))
        return torch.nn.functional.normalize(torch.cat(made).float(), dim=-1).cpu()
