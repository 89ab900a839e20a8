"""The scorer `labels`: how well a text fits an image, by the classes seen in it and the meaning of their names.

It bridges two packaged models that do not know each other, where no model of images and texts (see `encoder`) is at
hand. It knows what kind of thing is shown, not who or where: good enough to notice a text of another picture.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from kale_tasks.experts.base import Loaded, Scorer
from kale_tasks.experts.minilm import MiniLM, TextEmbedder
from kale_tasks.experts.tags import EfficientNet, ImageEmbedder

if TYPE_CHECKING:
    from PIL.Image import Image

_CLASSES = 10  # the most probable ones describe the image


class Models(NamedTuple):
    """Both models, and the vector of each class's name."""

    eyes: EfficientNet
    words: MiniLM
    names: npt.NDArray[np.float32]


class LabelScorer(Loaded[Models], Scorer):
    """Scores by the cosine of a text with the names of an image's classes, weighted by the root of their share."""

    @property
    def model(self) -> str:
        """The packages that have the weights."""
        return f"{ImageEmbedder().model} {TextEmbedder().model}"

    def load(self) -> Models:
        """Load both models and encode the names of the classes."""
        eyes, words = EfficientNet(), MiniLM()
        names = words.encode([f"a photo of {name}" for name in eyes.names], batch=50)
        return Models(eyes, words, names - names.mean(0))  # what all names have in common says nothing of an image

    def scores(self, pairs: Sequence[tuple["Image | str", str]]) -> list[float]:
        """Return the cosine of each pair, between -1 and 1."""
        eyes, words, names = self.loaded
        sources = np.zeros((len(pairs), names.shape[1]), np.float32)
        images = {at: source for at, (source, _) in enumerate(pairs) if not isinstance(source, str)}
        seen = {id(image): image for image in images.values()}  # several texts may be rated for one image
        described = dict(zip(seen, _described(eyes.see(list(seen.values())).classes, names), strict=True))
        for at, image in images.items():
            sources[at] = described[id(image)]
        texts = {at: source for at, (source, _) in enumerate(pairs) if isinstance(source, str)}
        sources[list(texts)] = words.encode(list(texts.values()))
        rated = words.encode([text for _, text in pairs])
        return [float(cosine) for cosine in (sources * rated).sum(1)]


def _described(classes: npt.NDArray[np.float32], names: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of the vectors of the most probable classes, of length 1."""
    top = np.argsort(-classes, axis=1)[:, :_CLASSES]
    weights = np.sqrt(np.take_along_axis(classes, top, 1))
    means = (names[top] * weights[:, :, None]).sum(1)
    lengths = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return np.asarray(means / lengths, dtype=np.float32)
