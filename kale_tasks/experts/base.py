"""The interfaces of experts and scorers, and their registries.

Recipes name an expert or a scorer and give its options, which become keyword arguments. docs/plugins.md shows how to
write one.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.registry import Registry
from kale_tasks.text.alttext import without_instructions
from kale_tasks.text.taming import find_orders

if TYPE_CHECKING:
    from PIL.Image import Image

ORDERS = "text_gives_orders"
# What experts return: a row for each value. A row of the input may have any number of values.
VALUES = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # as it is inserted in a prompt
        pa.field("score", pa.float64()),  # how sure the expert is, by its own measure; null if it does not say
        pa.field("data", pa.string()),  # more about this value as JSON, such as a box; null if there is none
    ]
)


@dataclass(frozen=True)
class ExpertRow:
    """What an expert sees of a row. The image is decoded, RGB, and None unless the expert reads images."""

    uid: str
    alt_text: str
    image: "Image | None" = None


class _Consulted:
    version: ClassVar[int] = 1  # raise it when the same rows give other results: runs that used it become stale

    @property
    def model(self) -> str:
        """The model as rows name it: name@revision, or name and version of the package that has it."""
        return f"{type(self).__name__.lower()}-{self.version}"

    @property
    def identity(self) -> str:
        """What results depend on besides the options, such as a pinned model; part of the fingerprint."""
        return str(self.version)

    def prepare(self) -> None:
        """Download what is needed. The process that loads the model has no credentials."""

    def start(self) -> None:
        """Load the model. `__init__` only checks the options, since planning a run calls it too."""

    def stop(self) -> None:
        """Release the model."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Context manager: start, and stop at the end."""
        self.start()
        try:
            yield
        finally:
            self.stop()


_M = TypeVar("_M")


class Loaded(_Consulted, ABC, Generic[_M]):
    """A mixin for what needs a pinned model: `load` makes it, and `loaded` is it between `start` and `stop`."""

    _loaded: _M | None = None

    @abstractmethod
    def load(self) -> _M:
        """Load the model."""

    @property
    def identity(self) -> str:
        """The pinned model is part of it."""
        return f"{self.version} {self.model}"

    @property
    def loaded(self) -> _M:
        """The model; RuntimeError if it is not loaded."""
        if self._loaded is None:
            raise RuntimeError(f"{type(self).__name__} has no model: call start() first.")
        return self._loaded

    def start(self) -> None:
        """Load the model."""
        self._loaded = self.load()

    def stop(self) -> None:
        """Release the model."""
        self._loaded = None


class Expert(_Consulted, ABC):
    """Finds values in rows, such as tags or the text in an image. The same rows must always give the same values."""

    reads_images: ClassVar[bool] = True

    @abstractmethod
    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return the values of a batch of rows, with the columns VALUES, in the order of the rows."""


class Scorer(_Consulted, ABC):
    """Rates how well a text fits an image or another text. Higher is better; the scale is the scorer's own."""

    @abstractmethod
    def scores(self, pairs: Sequence[tuple["Image | str", str]]) -> list[float]:
        """Return the score of each pair of an image (decoded, RGB) or a text, and the text that is rated."""


class Embedder(_Consulted, ABC):
    """Encodes images, or texts, as vectors of length 1; similar ones have a cosine near 1."""

    reads_images: ClassVar[bool] = True
    same: ClassVar[float] = 0.9  # cosine from which two images count as copies of each other

    @abstractmethod
    def vectors(self, rows: Sequence[ExpertRow]) -> npt.NDArray[np.float32]:
        """Return a vector for each row: of its image, or of its alt-text if the embedder reads no images."""


EXPERTS: Registry[type[Expert]] = Registry(
    "expert",
    "kale.experts",
    {
        "table": "kale_tasks.experts.table:TableExpert",
        "rapidocr": "kale_tasks.experts.ocr:Ocr",
        "faces": "kale_tasks.experts.faces:Faces",
        "nsfw": "kale_tasks.experts.nsfw:Nsfw",
        "tags": "kale_tasks.experts.tags:Tags",
    },
)
EMBEDDERS: Registry[type[Embedder]] = Registry(
    "embedder",
    "kale.embedders",
    {
        "efficientnet": "kale_tasks.experts.tags:ImageEmbedder",
        "minilm": "kale_tasks.experts.minilm:TextEmbedder",
        "encoder": "kale_tasks.experts.encoder:EncoderEmbedder",
    },
)
SCORERS: Registry[type[Scorer]] = Registry(
    "scorer",
    "kale.scorers",
    {
        "encoder": "kale_tasks.experts.encoder:EncoderScorer",
        "labels": "kale_tasks.experts.labels:LabelScorer",
        "minilm": "kale_tasks.experts.minilm:TextScorer",
    },
)
_P = TypeVar("_P", bound=_Consulted)


def open_expert(name: str, options: Mapping[str, Any]) -> Expert:
    """Create an expert without starting it; BadConfig if there is none of that name or it rejects its options."""
    return _make(EXPERTS, name, options)


def open_scorer(name: str, options: Mapping[str, Any]) -> Scorer:
    """Create a scorer without starting it; BadConfig if there is none of that name or it rejects its options."""
    return _make(SCORERS, name, options)


def open_embedder(name: str, options: Mapping[str, Any]) -> Embedder:
    """Create an embedder without starting it; BadConfig if there is none of that name or it rejects its options."""
    return _make(EMBEDDERS, name, options)


def values_of(expert: Expert, rows: Sequence[ExpertRow]) -> pa.Table:
    """Return the values that an expert finds, without instructions to a model; BadData as `checked` raises it."""
    return without_orders(checked(expert, rows))


def checked(expert: Expert, rows: Sequence[ExpertRow]) -> pa.Table:
    """Return the values that an expert finds; BadData if they lack columns or belong to no row of the batch."""
    values = expert.values(rows)
    if values.schema.names != VALUES.names:
        raise BadData(f"{type(expert).__name__} returned the columns {values.schema.names}, not {VALUES.names}.")
    if strange := set(values["uid"].to_pylist()) - {row.uid for row in rows}:
        raise BadData(f"{type(expert).__name__} returned values of '{min(strange)}', a row that it was not given.")
    return values.cast(VALUES)


def without_orders(values: pa.Table) -> pa.Table:
    """Cut instructions to a model off the texts of each row.

    A stranger can write them in an image, over several lines. The value in which they begin keeps what precedes them,
    those after it become empty; what was read is kept in `data`, with the flag `text_gives_orders`.
    """
    by_uid: dict[str, list[dict[str, Any]]] = {}
    for value in values.to_pylist():
        by_uid.setdefault(value["uid"], []).append(value)
    cut = [row for rows in by_uid.values() for row in _cut(rows)]
    return pa.Table.from_pylist(cut, schema=VALUES)


def _cut(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    joined = " ".join(value["text"] for value in values)
    start = find_orders(joined)
    if start is None:
        return values
    kept, at = len(without_instructions(joined)), 0
    for value in values:
        end = at + len(value["text"])
        if end > kept:
            more = {**json.loads(value["data"] or "{}"), "read": value["text"], "flags": [ORDERS]}
            value.update(text=value["text"][: max(kept - at, 0)].rstrip(), data=json.dumps(more, ensure_ascii=False))
        at = end + 1
    return values


def _make(parts: Registry[type[_P]], name: str, options: Mapping[str, Any]) -> _P:
    try:
        return parts.find(name)(**options)
    except (TypeError, ValueError) as error:
        raise BadConfig(f"The {parts.kind} '{name}' rejects its options {dict(options)}: {error}") from error
