"""Splits captions into sentences: one definition for cleaning, metrics and released files."""

import re
from functools import lru_cache

_SENTENCE = re.compile(r".*?(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\]]*(?=\s|$)\s*|.+?$", re.DOTALL)
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|St|Mt|No|vs|Jr|Sr|Co|Inc|Ltd|Vol|ca|approx|Ave|Fig)\.)\s*$")
_WHOLE = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*\s*$")


def sentences(text: str) -> list[str]:
    """Split a text into sentences, each with the white space after it. Joined, they are the text again."""
    return list(_split(text))


@lru_cache(maxsize=64)  # a text is split again by each rule that looks at its sentences
def _split(text: str) -> tuple[str, ...]:
    found: list[list[str]] = []
    for piece in _SENTENCE.findall(text):
        if found and _ABBREVIATION.search(found[-1][-1]):
            found[-1].append(piece)
        else:
            found.append([piece])
    return tuple(map("".join, found))


def is_whole(sentence: str) -> bool:
    """Tell whether a sentence ends with punctuation, so that it was not cut off."""
    return bool(_WHOLE.search(sentence))
