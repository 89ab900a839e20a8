"""Features of texts that the checks use, computed with Arrow column by column: the same for pandas and Spark."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from kale_tasks.text.sentences import sentences as split_sentences

Column = Any  # a pa.ChunkedArray; the stubs of pyarrow lack many of its functions
_LOOP_WORDS = 12
_LOOP_DISTINCT = 0.3


def text_features(text: Column, names: Sequence[str]) -> Mapping[str, Column]:
    """Return the words per text, and whether it matches the named patterns of the lexicon."""
    return {"words": words(text), **{name: matches(text, name) for name in names}}


def words(text: Column) -> Column:
    """Count the words of each text; 0 for a missing one."""
    return pc.fill_null(pc.count_substring_regex(text, pattern=r"\S+"), 0)


def sentences(text: Column) -> Column:
    """Count the sentences of each text."""
    return pa.array([len(split_sentences(one or "")) for one in text.to_pylist()], pa.int32())


def blank(text: Column) -> Column:
    """Tell whether each text is missing, empty or only white space."""
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(text, ""))), 0)


def matches(text: Column, name: str) -> Column:
    """Tell whether each text matches a pattern that the lexicon lists under a name."""
    found = pc.match_substring_regex(text, pattern=_pattern(name), ignore_case=True)
    return pc.fill_null(found, False)


def distinct_share(text: Column) -> Column:
    """Return distinct words over all words of each text (type-token ratio); 1 for an empty text."""
    split = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.utf8_lower(pc.fill_null(text, ""))))
    lists = split.combine_chunks() if isinstance(split, pa.ChunkedArray) else split
    tokens = lists.flatten()
    owner = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    codes = pc.dictionary_encode(tokens).indices.to_numpy(zero_copy_only=False).astype(np.int64)
    kinds = np.unique(owner << 32 | codes)
    total = np.bincount(owner, minlength=len(lists))
    distinct = np.bincount(kinds >> 32, minlength=len(lists))
    return pa.array(np.where(total > 0, distinct / np.maximum(total, 1), 1.0))


def loops(text: Column) -> Column:
    """Tell whether each text repeats itself: long, with few distinct words."""
    few = pc.less(distinct_share(text), _LOOP_DISTINCT)
    return pc.and_(few, pc.greater_equal(words(text).combine_chunks(), _LOOP_WORDS))


def foreign(text: Column) -> Column:
    """Tell whether each text of six words or more has no common English word."""
    return pc.and_(pc.invert(matches(text, "english")), pc.greater_equal(words(text), 6))


@cache
def _pattern(name: str) -> str:
    lexicon = yaml.safe_load(Path(__file__).with_name("lexicon.yaml").read_text(encoding="utf-8"))
    return "|".join(f"(?:{pattern})" for pattern in lexicon[name])
