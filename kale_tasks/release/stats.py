"""Counts of the captions in a file, which can be added up over files."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TEXTS = ("alt_text", "dense_caption", "caption")
FACTS = ("facts", "facts_from_alt", "facts_from_dense", "facts_invented")
BIN, BINS = 10, 21  # word counts in bins of ten; the last bin is 200 and more

Counts = dict[str, dict[str, int]]


def count(rows: pa.Table) -> Counts:
    """Count words, flags, facts, recipes and models of some captions."""
    found: Counts = {f"words.{name}": _words(rows[name]) for name in TEXTS}
    found["facts"] = {name: int(pc.sum(rows[name]).as_py() or 0) for name in FACTS}
    found["flags"] = _values(pc.list_flatten(rows["flags"]))
    found["models"] = _values(pc.list_flatten(rows["models"]))
    found["recipes"] = _values(rows["recipe"])
    found["stages"] = _values(rows["stage"])
    return found


def add(counts: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Return the sum of several counts."""
    total: dict[str, Counter[str]] = {}
    for each in counts:
        for group, values in each.items():
            total.setdefault(group, Counter()).update(values)
    return {group: dict(sorted(values.items())) for group, values in sorted(total.items())}


def mean_words(counts: Mapping[str, Mapping[str, int]], name: str) -> float:
    """Return the mean number of words of a text."""
    counted = counts.get(f"words.{name}", {})
    return counted.get("sum", 0) / max(1, counted.get("rows", 0))


def _words(texts: pa.ChunkedArray) -> dict[str, int]:
    words = _spaces(texts) + 1  # exact enough for a card, and many times faster than splitting
    bins = np.bincount(np.minimum(words // BIN, BINS - 1), minlength=BINS)
    histogram = {f"{BIN * i:03d}": int(n) for i, n in enumerate(bins) if n}
    return {"rows": len(words), "sum": int(words.sum()), **histogram}


def _spaces(texts: pa.ChunkedArray) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Count the spaces of each text that is not empty, many times as fast as Arrow does."""
    array = texts.drop_null().cast(pa.large_string()).combine_chunks()
    if not len(array):
        return np.zeros(0, np.int64)
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    if ends[0] == ends[-1]:
        return np.zeros(0, np.int64)
    bits = np.packbits(np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] == ord(" "), bitorder="little")
    blocks = np.concatenate((bits, np.zeros(-len(bits) % 8 + 8, np.uint8))).view("<u8")
    before = np.concatenate(([0], np.cumsum(np.bitwise_count(blocks), dtype=np.int64)))  # before each block
    block, bit = np.divmod(ends - ends[0], 64)
    within = np.bitwise_count(blocks[block] & ((np.uint64(1) << bit.astype(np.uint64)) - np.uint64(1)))
    counts: np.ndarray[Any, np.dtype[np.int64]] = np.diff(before[block] + within)
    return counts.compress(np.diff(ends) > 0)


def _values(column: pa.ChunkedArray) -> dict[str, int]:
    counted: list[dict[str, Any]] = pc.value_counts(column.combine_chunks()).to_pylist()
    return {str(item["values"]): item["counts"] for item in counted if item["values"] is not None}
