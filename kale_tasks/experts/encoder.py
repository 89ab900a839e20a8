"""Encodes images and texts into one space, with models such as CLIP or SigLIP, and scores texts by it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kale_tasks.experts.base import Embedder, ExpertRow, Loaded, Scorer
from kale_tasks.models.locate import locate, pinned

if TYPE_CHECKING:
    from PIL.Image import Image

_BATCH = 32


class DualEncoder:
    """Encodes texts and images as unit vectors."""

    def __init__(self, name: str) -> None:
        import torch
        from transformers import AutoModel, AutoProcessor

        folder = locate(name)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True).to(self._device).eval()
        self._processor: Any = AutoProcessor.from_pretrained(folder)
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


class _Encoder(Loaded[DualEncoder]):
    def __init__(self, model: str) -> None:
        self._name = model

    @property
    def model(self) -> str:
        """The pinned name of the model."""
        return pinned(self._name)

    def prepare(self) -> None:
        """Download the model."""
        locate(self._name)

    def load(self) -> DualEncoder:
        """Load the model."""
        return DualEncoder(self._name)


class EncoderScorer(_Encoder, Scorer):
    """Scores a text by the cosine of its vector and that of an image or of another text. `model` is pinned."""

    def scores(self, pairs: Sequence[tuple["Image | str", str]]) -> list[float]:
        """Return the cosine of each pair, between -1 and 1."""
        encoder = self.loaded
        encoders: dict[bool, Callable[[Sequence[Any]], Any]] = {True: encoder.texts, False: encoder.images}
        cosines = [0.0] * len(pairs)
        for is_text, encode in encoders.items():
            places = [at for at, (source, _) in enumerate(pairs) if isinstance(source, str) == is_text]
            if places:
                shown = {id(pairs[at][0]): pairs[at][0] for at in places}  # several texts may be rated for one image
                rows = dict(zip(shown, range(len(shown)), strict=True))
                sources = encode(list(shown.values()))[[rows[id(pairs[at][0])] for at in places]]
                texts = encoder.texts([pairs[at][1] for at in places])
                for at, cosine in zip(places, (sources * texts).sum(1).tolist(), strict=True):
                    cosines[at] = float(cosine)
        return cosines


class EncoderEmbedder(_Encoder, Embedder):
    """Encodes images, or with `of: text` alt-texts, with a model such as SigLIP. `model` is pinned."""

    def __init__(self, model: str, of: str = "image") -> None:
        if of not in ("image", "text"):
            raise ValueError("`of` is image or text")
        super().__init__(model)
        self.reads_images = of == "image"  # type: ignore[misc]

    def vectors(self, rows: Sequence[ExpertRow]) -> npt.NDArray[np.float32]:
        """Return the vector of each image or text."""
        if self.reads_images:
            found = self.loaded.images([row.image for row in rows])
        else:
            found = self.loaded.texts([row.alt_text for row in rows])
        return np.asarray(found.numpy(), dtype=np.float32)
