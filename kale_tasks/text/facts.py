"""Finds the facts that a text states: proper names and numbers, in digits or words.

Names are runs of capitalised words. The first word of an English sentence is one unless it is common. In German, where
every noun has a capital, and in scripts without capitals, names are known by the words beside them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from kale_tasks.text.numbers import is_count, spelled
from kale_tasks.text.scripts import caseless_names
from kale_tasks.text.words import common_words, pattern, words

WORD = re.compile(r"[^\W_]+(?:['\u2019.&/,-][^\W_]+)*")
JOINERS = frozenset(words("joiners"))
_PLAIN = frozenset(words("plain"))
_GERMAN, _GERMAN_CUES = frozenset(words("german")), frozenset(words("german_cues"))
_MAGNITUDES = frozenset(words("magnitudes"))
_SENTENCE_END = re.compile(r"(?:^|(?<!\b[A-Z])\.|[!?:;\n\"\u201c\u201d(]|--| - )\W*$")
_SHORT = 6  # words of a text that need not have small ones to be English
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
    """Yield the names and numbers of a text with their offsets, in order; those of scripts without capitals last."""
    run: list[re.Match[str]] = []
    number: list[re.Match[str]] = []
    language = _language(text)
    for word in WORD.finditer(text):
        if number and not (_goes_on(number, word) and text[number[-1].end() : word.start()] in (" ", "-", "\u00a0")):
            yield from _number(text, number)
            number = []
        elif number:
            number.append(word)
            continue
        if run and not _adjacent(text, run[-1], word):
            yield from _name(text, run, language)
            run = []
        if is_number(word[0]):
            yield from _name(text, run, language)
            run, number = [], [word]
        elif word[0][0].isupper() or (run and word[0] in JOINERS):
            run.append(word)
        else:
            yield from _name(text, run, language)
            run = []
    yield from _number(text, number)
    yield from _name(text, run, language)
    if not text.isascii():
        yield from (Fact(name, start) for name, start in caseless_names(text))


def is_plain(word: str) -> bool:
    """Return whether a word is not a fact even when it is capitalised."""
    return word.lower() in _PLAIN or (len(word) == 1 and not word.isdigit())


@lru_cache(maxsize=1 << 14)
def is_number(word: str) -> bool:
    """Return whether a word is a fact because it is a number or has digits."""
    return (any(map(str.isdigit, word)) and word.lower() not in _PLAIN) or is_count(word)


def is_numeral(word: str) -> bool:
    """Whether a letter at the end of a name can be a Roman numeral."""
    return word in ("I", "V", "X")


def _goes_on(number: list[re.Match[str]], word: re.Match[str]) -> bool:
    """Whether a word belongs to the number before it, as in "two hundred", "1.5 million" or "95 000"."""
    first, last = number[0][0], number[-1][0]
    if is_count(last):
        return is_count(word[0])
    grouped = bool(re.fullmatch(r"\d{1,3}", first)) and bool(re.fullmatch(r"\d{3}", word[0]))
    return last[-1].isdigit() and (word[0].lower() in _MAGNITUDES or (grouped and last[-3:].isdigit()))


def _number(text: str, number: list[re.Match[str]]) -> Iterator[Fact]:
    if number and (not is_count(number[0][0]) or spelled([word[0] for word in number]) is not None):
        yield Fact(text[number[0].start() : number[-1].end()], number[0].start())


def _name(text: str, run: list[re.Match[str]], language: str) -> Iterator[Fact]:
    while run and (run[-1][0].lower() in JOINERS or is_plain(run[-1][0])) and not _ends_in_numeral(run):
        run = run[:-1]
    while run and (is_plain(run[0][0]) or (language == "de" and run[0][0].lower() in _GERMAN)):
        run = run[1:]
    if len(run) == 1 and not any(map(str.isupper, run[0][0][1:])):
        opens, bare = _opens_sentence(text, run[0].start()), re.split("['\u2019]", run[0][0])[0]
        if opens and (language != "en" or is_plain(bare) or bare.lower() in common_words()):
            return  # the first word of a sentence is always capitalised
        if language == "de" and not _is_cued(text, run[0].start()):
            return
    if run:
        yield Fact(text[run[0].start() : run[-1].end()], run[0].start())


def _ends_in_numeral(run: list[re.Match[str]]) -> bool:
    if len(run) < 2 or not is_numeral(run[-1][0]):
        return False
    before = run[-2][0]
    return before[0].isupper() and not is_plain(before) and (len(run) > 2 or before.lower() not in common_words())


def _adjacent(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    between = text[one.end() : other.start()]
    return between in (" ", " & ") or (
        between == ". " and len(one[0]) <= 2
    )  # "St. Paul" is one name, "Paris. The" is not


def _opens_sentence(text: str, start: int) -> bool:
    return bool(_SENTENCE_END.search(text[max(0, start - _LOOK_BACK) : start]))


def _language(text: str) -> str:
    """Tell English and German from other languages by their small words."""
    found = text.lower().split()
    if sum(word in _GERMAN for word in found) > max(1, len(found) / 8):
        return "de"
    return "en" if len(found) < _SHORT or len(pattern("english").findall(text)) > len(found) / 8 else ""


def _is_cued(text: str, start: int) -> bool:
    before = text[:start].split()
    return bool(before) and before[-1].lower() in _GERMAN_CUES
