"""The scorer `labels`: how well a text fits an image, by the classes seen in it and the meaning of their names.

It bridges two packaged models that do not know each other, where no model of images and texts (see `encoder`) is at
hand. It knows what kind of thing is shown, not who or where: good enough to notice a text of another picture.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kale_tasks.experts.base import Scorer
from kale_tasks.experts.minilm import MiniLM, TextEmbedder
from kale_tasks.experts.tags import EfficientNet, ImageEmbedder

if TYPE_CHECKING:
    from PIL.Image import Image

_CLASSES = 10  # the most probable ones describe the image


class LabelScorer(Scorer):
    """Scores by the cosine of a text with the names of an image's classes, weighted by the root of their share."""

    def __init__(self) -> None:
        self._eyes: EfficientNet | None = None
        self._words: MiniLM | None = None
        self._names = np.zeros((0, 384), np.float32)

    @property
    def model(self) -> str:
        """The packages that have the weights."""
        return f"{ImageEmbedder().model} {TextEmbedder().model}"

    @property
    def identity(self) -> str:
        """The packages are part of it."""
        return f"{self.version} {self.model}"

    def start(self) -> None:
        """Load both models and encode the names of the classes."""
        self._eyes, self._words = EfficientNet(), MiniLM()
        names = self._words.encode([f"a photo of {name}" for name in self._eyes.names], batch=50)
        self._names = names - names.mean(0)  # what all of them have in common tells images from no other

    def stop(self) -> None:
        """Release the models."""
        self._eyes = self._words = None

    def scores(self, pairs: Sequence[tuple["Image | str", str]]) -> list[float]:
        """Return the cosine of each pair, between -1 and 1."""
        if self._eyes is None or self._words is None:
            raise RuntimeError("start() must be called before scores().")
        sources = np.zeros((len(pairs), self._names.shape[1]), np.float32)
        images = {at: source for at, (source, _) in enumerate(pairs) if not isinstance(source, str)}
        texts = {at: source for at, (source, _) in enumerate(pairs) if isinstance(source, str)}
        sources[list(images)] = self._described(self._eyes.see(list(images.values())).classes)
        sources[list(texts)] = self._words.encode(list(texts.values()))
        rated = self._words.encode([text for _, text in pairs])
        return [float(cosine) for cosine in (sources * rated).sum(1)]

    def _described(self, classes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The mean of the vectors of the most probable classes, of length 1."""
        top = np.argsort(-classes, axis=1)[:, :_CLASSES]
        weights = np.sqrt(np.take_along_axis(classes, top, 1))
        means = (self._names[top] * weights[:, :, None]).sum(1)
        lengths = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        return np.asarray(means / lengths, dtype=np.float32)
