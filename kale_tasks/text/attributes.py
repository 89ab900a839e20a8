"""Finds attributes that texts give to things, such as colours, and those that contradict other texts."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from kale_tasks.text.words import lines, words

_TOKEN = re.compile(r"[^\W\d_]+|[^\w\s]")


class Attribute(NamedTuple):
    """A word such as `red`: the values that it may mean, and the thing that it is said of, if that follows."""

    values: frozenset[int]
    thing: str


def find_attributes(text: str) -> list[Attribute]:
    """Return the attributes in a text, in their order."""
    return list(_found(_TOKEN.findall(text.lower())))


def contradictions(found: Sequence[Attribute], sources: Sequence[Attribute]) -> int:
    """Count the attributes that the sources give to nothing, or whose thing has only other ones there."""
    return sum(not _supported(one, sources) for one in found)


def _found(tokens: Sequence[str]) -> Iterator[Attribute]:
    known, between = _values(), {"and", "or", "-", ","}
    for at, token in enumerate(tokens):
        if token in known:
            rest = (other for other in tokens[at + 1 :] if other not in known and other not in between)
            yield Attribute(known[token], _thing(next(rest, "")))


def _thing(token: str) -> str:
    if not token.isalpha() or token in _closed():
        return ""
    return token if token.endswith("ss") else token.removesuffix("s")


def _supported(one: Attribute, sources: Sequence[Attribute]) -> bool:
    if not any(one.values & other.values for other in sources):
        return False
    same = [other for other in sources if one.thing and other.thing == one.thing]
    return not same or any(one.values & other.values for other in same)


@cache
def _values() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for value, line in enumerate(lines("attributes")):
        for word in line.split():
            found.setdefault(word, set()).add(value)
    return {word: frozenset(values) for word, values in found.items()}


@cache
def _closed() -> frozenset[str]:
    return frozenset(words("plain"))
