"""The schema of rows as they are read from landing files, and the conversion of values of any type to it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from kale_tasks.lake.columns import BOXES

# Texts are bytes until they are known to be UTF-8.
RAW = pa.schema(
    {
        "row": pa.int64(),
        "uid": pa.binary(),
        "url": pa.binary(),
        "alt_text": pa.binary(),
        "context": pa.binary(),
        "width": pa.int32(),
        "height": pa.int32(),
        "clip_b32": pa.float64(),
        "clip_l14": pa.float64(),
        "face_boxes": BOXES,
        "sha256": pa.binary(),
        "embedding": pa.list_(pa.float32()),
        "reason": pa.string(),
        "detail": pa.string(),
    }
)


def column(values: pa.Array | Sequence[Any] | None, type_: pa.DataType, rows: int) -> pa.Array:
    """Convert values to an array of a type. Values that cannot be converted become null.

    `rows` is the length of the array of nulls that is returned when there are no values.
    """
    if values is None:
        return pa.nulls(rows, type_)
    if isinstance(values, pa.Array):
        try:
            plain = (
                values.cast(pa.binary())
                if pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
                else values
            )
            if plain.type == type_ or not (pa.types.is_binary(plain.type) or type_ == pa.binary()):
                return plain.cast(type_)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # some value cannot be cast: below, each is converted by itself, and only that one becomes null
        values = values.cast(pa.binary()).to_pylist() if pa.types.is_string(values.type) else values.to_pylist()
    convert = _CONVERT[type_]
    return pa.array([_try(convert, value) for value in values], type_)


def _try(convert: Callable[[Any], Any], value: Any) -> Any:
    if value is None:
        return None
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError, AttributeError, RecursionError):
        return None


def _int(value: Any) -> int | None:
    number = int(float(value))
    return number if -(2**31) <= number < 2**31 else None


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    # A lone surrogate, from JSON or from invalid UTF-8, becomes invalid UTF-8, so that its row is quarantined.
    return str(value).encode("utf-8", "surrogatepass")


def _boxes(value: Any) -> list[list[float]]:
    """Convert face boxes; if they cannot be read, return one empty box, for which the whole image is blurred."""
    try:
        boxes = json.loads(value) if isinstance(value, str | bytes) else value
        if isinstance(boxes, list) and len(boxes) == 4 and all(isinstance(edge, int | float) for edge in boxes):
            boxes = [boxes]  # the only face of an image
        return [[float(edge) for edge in box] for box in boxes or []]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return [[]]


def _floats(value: Any) -> list[float]:
    return [float(number) for number in (json.loads(value) if isinstance(value, str | bytes) else value)]


_CONVERT: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.int32(): _int,
    pa.float64(): float,
    pa.binary(): _bytes,
    BOXES: _boxes,
    pa.list_(pa.float32()): _floats,
}
