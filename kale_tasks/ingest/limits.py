"""The limits of rows: sizes and scores that the source claims, and the length of the repaired text."""

import functools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.settings.ingest import Rules


def missed_by_image(batch: pa.RecordBatch, rules: Rules) -> pa.Array:
    """Return for each row the first limit that what is claimed of its image misses, or null.

    A limit that is not set, or a value that is not known, drops nothing.
    """
    width, height = batch["width"].cast(pa.float64()), batch["height"].cast(pa.float64())
    least = pc.min_element_wise(width, height, skip_nulls=False)
    most = pc.max_element_wise(width, height, skip_nulls=False)
    return _first_missed(batch.num_rows, [
        ("too_small", None if rules.min_side is None else pc.less(least, float(rules.min_side))),
        ("too_narrow", None if rules.max_aspect is None else pc.greater(most, pc.multiply(least, rules.max_aspect))),
        ("low_clip", None if rules.min_clip_b32 is None else pc.less(batch["clip_b32"], rules.min_clip_b32)),
        ("low_clip", None if rules.min_clip_l14 is None else pc.less(batch["clip_l14"], rules.min_clip_l14)),
    ])  # fmt: skip


def missed_by_text(texts: Sequence[str], folded: Sequence[str], rules: Rules) -> list[str | None]:
    """Return for each repaired text the first limit that it misses, or None."""
    column = pa.array(texts, pa.string())
    words = pc.add(pc.count_substring(column, " "), 1)  # a repaired text has single spaces
    chars = pc.utf8_length(column)
    missed: list[str | None] = _first_missed(len(texts), [
        ("too_few_words", None if rules.min_words is None else pc.less(words, rules.min_words)),
        ("too_many_words", None if rules.max_words is None else pc.greater(words, rules.max_words)),
        ("too_short", None if rules.min_chars is None else pc.less(chars, rules.min_chars)),
        ("too_long", None if rules.max_chars is None else pc.greater(chars, rules.max_chars)),
    ]).to_pylist()  # fmt: skip
    most = rules.max_repetition
    if most is None:
        return missed
    repeats = [_repeats(text, most) for text in folded]
    return [limit or ("repetition" if too_often else None) for limit, too_often in zip(missed, repeats, strict=True)]


def _repeats(folded: str, most: float) -> bool:
    known = folded.split()
    return bool(known) and 1 - len(set(known)) / len(known) > most


def _first_missed(rows: int, limits: Sequence[tuple[str, pa.Array | None]]) -> pa.Array:
    """Return for each row the name of the first limit that it misses, or null."""
    return functools.reduce(
        lambda later, limit: later if limit[1] is None else pc.if_else(pc.fill_null(limit[1], False), limit[0], later),
        reversed(limits),
        pa.nulls(rows, pa.string()),
    )
