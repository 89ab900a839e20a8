"""Large alternations of patterns, fast: only those are searched for of which a text has a word that they need."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_LETTERS = 8.0  # of which the next one of a word could be any
_SMALL = {"\u0130": "i", "\u0131": "i"}  # patterns that ignore case take both for an i


class AnyOf:
    """Finds what one of several patterns finds; case is ignored."""

    def __init__(self, expressions: Iterable[str]) -> None:
        self._each = [(re.compile(one, re.IGNORECASE), needed_words(one)) for one in expressions]
        every = frozenset[str]().union(*(words for _, words in self._each))
        self._always = any(not words for _, words in self._each)
        self._words = [word for word in every if not any(other in word for other in every - {word})]
        self._plain = [word for word in self._words if word.isascii()]

    def search(self, text: str) -> re.Match[str] | None:
        """Find the first match, as one pattern with all of them as alternatives does."""
        low = in_small_letters(text)
        if not (self._always or _has(low, self._plain if low.isascii() else self._words)):
            return None
        likely = (pattern for pattern, words in self._each if not words or _has(low, words))
        found = filter(None, (pattern.search(text) for pattern in likely))
        return min(found, key=lambda match: match.start(), default=None)


def _has(text: str, words: Iterable[str]) -> bool:
    return any(map(text.__contains__, words))


def in_small_letters(text: str) -> str:
    """A text in which letters are equal that patterns take for equal when they ignore case."""
    return text.lower() if text.isascii() else "".join(map(_small, text))


@lru_cache(maxsize=1 << 14)  # texts of strangers may have any of a million letters
def _small(letter: str) -> str:
    folded = letter.casefold()
    return _SMALL.get(letter, folded if len(folded) == 1 else letter)


def needed_words(expression: str) -> frozenset[str]:
    """Of these, every text that matches has at least one in small letters; none: nothing is known."""
    return _needed(parser.parse(expression)) or frozenset()


def _needed(parsed: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    """Return what the rarest part of a sequence needs."""
    found, run = list[frozenset[str]](), ""
    for kind, value in [*parsed, (None, None)]:
        if kind is kinds.LITERAL:
            run += _small(chr(value))
            continue
        found += [frozenset({run})] if run else []
        run = ""
        if part := _needed_by(kind, value):
            found.append(part)
    return min(found, key=_frequency, default=None)


def _frequency(words: frozenset[str]) -> float:
    return sum(_LETTERS ** -len(word.strip()) for word in words)


def _needed_by(kind: Any, value: Any) -> frozenset[str] | None:
    if kind is kinds.SUBPATTERN:
        return _needed(value[-1])
    if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT) and value[0]:
        return _needed(value[2])
    if kind is kinds.BRANCH:
        return _union([_needed(branch) for branch in value[1]])
    return None


def _union(parts: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    return None if None in parts else frozenset[str]().union(*filter(None, parts))
