"""The limits of rows: sizes and scores that the source claims, and the length of the repaired text."""

import functools

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
    missed = [
        ("too_small", None if rules.min_side is None else pc.less(least, float(rules.min_side))),
        ("too_narrow", None if rules.max_aspect is None else pc.greater(most, pc.multiply(least, rules.max_aspect))),
        ("low_clip", None if rules.min_clip_b32 is None else pc.less(batch["clip_b32"], rules.min_clip_b32)),
        ("low_clip", None if rules.min_clip_l14 is None else pc.less(batch["clip_l14"], rules.min_clip_l14)),
    ]
    none = pa.nulls(batch.num_rows, pa.string())
    return functools.reduce(
        lambda later, limit: later if limit[1] is None else pc.if_else(pc.fill_null(limit[1], False), limit[0], later),
        reversed(missed),
        none,
    )


def missed_by_text(text: str, folded: str, rules: Rules) -> str | None:
    """Return the first limit that a repaired text misses, or None."""
    words = text.count(" ") + 1  # a repaired text has single spaces
    if rules.min_words is not None and words < rules.min_words:
        return "too_few_words"
    if rules.max_words is not None and words > rules.max_words:
        return "too_many_words"
    if rules.min_chars is not None and len(text) < rules.min_chars:
        return "too_short"
    if rules.max_chars is not None and len(text) > rules.max_chars:
        return "too_long"
    if rules.max_repetition is not None:
        known = folded.split()
        if known and 1 - len(set(known)) / len(known) > rules.max_repetition:
            return "repetition"
    return None
