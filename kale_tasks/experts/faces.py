"""Finds faces with BlazeFace: the detector that blurs them in the images step, and the expert `faces`.

The weights are Google's full-range model (MediaPipe, Apache-2.0), a megabyte, and are part of this package.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL.Image import Resampling

from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import VALUES, Expert, ExpertRow, Loaded
from kale_tasks.experts.packages import EXTRA, needs

if TYPE_CHECKING:
    from PIL.Image import Image

WEIGHTS = Path(__file__).with_name("weights") / "blazeface_full_range.tflite"
_DIGEST = "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"  # SHA-256 of the weights
FACE_SCORE = 0.6
_SIDE, _CELLS = 192, 48  # of the model's input and of its grid of candidates
_SAME = 0.3  # boxes that overlap more show one face
_CANDIDATE = 0.3  # score at which something is looked at again
_SCALES = (2.5, 4.0, 7.0)  # sides of the squares of the second look, in sides of the candidate


class Face(NamedTuple):
    """A face: left, top, right and bottom as fractions of the image, and how sure the detector is."""

    box: tuple[float, float, float, float]
    score: float


class FaceDetector:
    """Finds faces in two looks: candidates in the image and in squares of it, then each candidate from near by."""

    def __init__(self) -> None:
        with needs("faces"):
            from ai_edge_litert.interpreter import Interpreter

        self._model: Any = Interpreter(model_path=str(WEIGHTS), num_threads=1)
        self._model.allocate_tensors()
        self._input = self._model.get_input_details()[0]["index"]
        self._boxes, self._scores = (output["index"] for output in self._model.get_output_details())

    def find(self, image: "Image", least: float) -> list[Face]:
        """Return the faces that score at least `least` when they are seen from near by, the surest first."""
        seen = [face for area in _areas(*image.size) for face in self._look(image, area, _CANDIDATE)]
        candidates = _distinct(sorted(seen, key=lambda face: -face.score))
        scored = [face._replace(score=self._from_near(image, face)) for face in candidates]
        return sorted((face for face in scored if face.score >= least), key=lambda face: -face.score)

    def _from_near(self, image: "Image", face: Face) -> float:
        """The best score of a face in squares around it of several sizes: what only looks like one fails in all."""
        left, top, right, bottom = (edge * side for edge, side in zip(face.box, image.size * 2, strict=True))
        x, y, side = (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)
        best = 0.0
        for scale in _SCALES:
            reach = side * scale / 2
            area = (int(x - reach), int(y - reach), int(x + reach), int(y + reach))
            found = self._look(image, area, _CANDIDATE)
            best = max([best, *(near.score for near in found if _overlap(near.box, face.box) > 0.5)])
        return best

    def _look(self, image: "Image", area: Sequence[int], least: float) -> list[Face]:
        """Return the faces in one part of an image, which is padded to a square."""
        left, top, right, bottom = area
        side = max(right - left, bottom - top, 1)
        x, y = (left + right - side) // 2, (top + bottom - side) // 2
        square = image.crop((x, y, x + side, y + side)).resize((_SIDE, _SIDE), Resampling.BILINEAR, reducing_gap=2.0)
        pixels = np.asarray(square, dtype=np.float32) / 127.5 - 1
        self._model.set_tensor(self._input, pixels[None])
        self._model.invoke()
        raw = self._model.get_tensor(self._boxes)[0, :, :4] / _SIDE
        logits = self._model.get_tensor(self._scores)[0, :, 0]
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        at = np.flatnonzero(scores >= least)
        centres = raw[at, :2] + (np.stack([at % _CELLS, at // _CELLS], 1) + 0.5) / _CELLS
        corners = np.concatenate([centres - raw[at, 2:] / 2, centres + raw[at, 2:] / 2], 1) * side
        boxes = np.clip((corners + np.array([x, y, x, y])) / np.array(image.size * 2), 0, 1)
        return [Face(_box(box), float(score)) for box, score in zip(boxes, scores[at], strict=True) if _is_area(box)]


def require_detector() -> None:
    """BadConfig if the package that runs the detector is missing."""
    if find_spec("ai_edge_litert") is None:
        raise BadConfig(f"images.decode.faces: detect needs the package ai-edge-litert. Install {EXTRA}.")


@cache
def face_detector() -> FaceDetector:
    """The detector of this process."""
    return FaceDetector()


class Faces(Loaded[FaceDetector], Expert):
    """Finds faces: one value each, `face`, with its box as fractions of the image in `data`."""

    def __init__(self, min_score: float = FACE_SCORE) -> None:
        self._min_score = min_score

    @property
    def model(self) -> str:
        """The detector and the beginning of the hash of its weights."""
        return f"blazeface-full-range@{_DIGEST[:12]}"

    def load(self) -> FaceDetector:
        """Load the detector."""
        return FaceDetector()

    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return a value for each face."""
        return pa.Table.from_pylist(
            [
                {"uid": row.uid, "text": "face", "score": round(face.score, 4), "data": _data(face)}
                for row in rows
                if row.image
                for face in self.loaded.find(row.image, self._min_score)
            ],
            schema=VALUES,
        )


def _areas(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The whole image, and overlapping squares along its longer side if that is more than a third longer."""
    short, long = sorted((width, height))
    areas = [(0, 0, width, height)]
    if long > 1.33 * short:
        count = -(-long // short)
        starts = [round(at * (long - short) / (count - 1)) for at in range(count)]
        wide = width > height
        areas += [(s, 0, s + short, short) if wide else (0, s, short, s + short) for s in starts]
    return areas


def _box(edges: "np.ndarray[Any, Any]") -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) for edge in edges)
    return left, top, right, bottom


def _is_area(edges: "np.ndarray[Any, Any]") -> bool:
    return bool(edges[2] > edges[0] and edges[3] > edges[1])


def _distinct(faces: Sequence[Face]) -> list[Face]:
    kept: list[Face] = []
    for face in faces:
        if all(_overlap(face.box, other.box) <= _SAME for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """The area that two boxes share, as a fraction of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller else 0.0


def _data(face: Face) -> str:
    return json.dumps({"box": [round(edge, 4) for edge in face.box]})
