"""Finds the facts that a text states: proper names (runs of capitalised words) and words that contain digits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kale_tasks.text.words import words

WORD = re.compile(r"[^\W_]+(?:['\u2019.&/,-][^\W_]+)*")
JOINERS = frozenset(words("joiners"))
_PLAIN = frozenset(words("plain"))
_SENTENCE_END = re.compile(r"(?:^|(?<!\b[A-Z])\.|[!?:;\n\"\u201c\u201d(]|--| - )\W*$")
_LOOK_BACK = 12  # characters before a word that are searched for the end of a sentence


@dataclass(frozen=True)
class Fact:
    """A fact as written, and its offset in the text."""

    text: str
    start: int


def facts(text: str) -> frozenset[str]:
    """Return the names and numbers that a text states, as written."""
    return frozenset(fact.text for fact in find_facts(text))


def find_facts(text: str) -> Iterator[Fact]:
    """Yield the names and numbers of a text with their offsets, in order."""
    run: list[re.Match[str]] = []
    for word in WORD.finditer(text):
        if run and not _adjacent(text, run[-1], word):
            yield from _name(text, run)
            run = []
        if is_number(word[0]):
            yield from _name(text, run)
            yield Fact(word[0], word.start())
            run = []
        elif word[0][0].isupper() or (run and word[0] in JOINERS):
            run.append(word)
        else:
            yield from _name(text, run)
            run = []
    yield from _name(text, run)


def is_plain(word: str) -> bool:
    """Return whether a word is not a fact even when it is capitalised."""
    return word.lower() in _PLAIN or len(word) == 1


def is_number(word: str) -> bool:
    """Return whether a word is a fact because it contains digits."""
    return any(letter.isdigit() for letter in word) and word.lower() not in _PLAIN


def _name(text: str, run: list[re.Match[str]]) -> Iterator[Fact]:
    while run and (run[-1][0].lower() in JOINERS or is_plain(run[-1][0])):
        run = run[:-1]
    while run and is_plain(run[0][0]):
        run = run[1:]
    if len(run) == 1 and _opens_sentence(text, run[0].start()) and not any(map(str.isupper, run[0][0][1:])):
        return  # the first word of a sentence is always capitalised
    if run:
        yield Fact(text[run[0].start() : run[-1].end()], run[0].start())


def _adjacent(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    between = text[one.end() : other.start()]
    return between in (" ", " & ") or (
        between == ". " and len(one[0]) <= 2
    )  # "St. Paul" is one name, "Paris. The" is not


def _opens_sentence(text: str, start: int) -> bool:
    return bool(_SENTENCE_END.search(text[max(0, start - _LOOK_BACK) : start]))
