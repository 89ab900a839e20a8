"""Names in scripts that have no capitals, and how words of other scripts sound, roughly.

Names are phrases of names.yaml, quoted titles, and words beside such as "city", "river" or "Mr" in Chinese, Japanese,
Arabic and Hindi. The sound of a word is its consonants in six classes, read off the names of its characters.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

from kale_tasks.text.words import groups, lines

_HAN, _KATAKANA = "\u3400-\u9fff", "\u30a1-\u30fa\u30fc"
_CASELESS = re.compile("[\u0590-\u074f\u0900-\u0eff\u1100-\u11ff\u3040-\u9fff\uac00-\ud7af]")
_OTHER_WORD = re.compile(r"[^\W\d_a-zA-Z\u00c0-\u024f](?:[^\W\d_a-zA-Z\u00c0-\u024f]|[\u0300-\u036f\u0591-\u0e4e])*")
_LATIN_WORD = re.compile(r"[a-zA-Z\u00c0-\u024f]+")
_TITLE = re.compile("[《「『〈]([^》」』〉]{1,40})[》」』〉]")
_FOREIGN = re.compile(
    f"(?<![{_KATAKANA}])[{_KATAKANA}]++(?:・[{_KATAKANA}]++)+|(?<![{_HAN}])[{_HAN}]++(?:·[{_HAN}]++)+"
)
_LETTER = re.compile(r"(?:LETTER|SYLLABLE|CHARACTER|SIGN)(?: FINAL| SMALL)? (\w+)")
_CLASSES = {
    letter: str(number)
    for number, letters in enumerate(("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), 1)
    for letter in letters
}
_LEAST = 3  # consonants by which a word is recognised


def caseless_names(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names in scripts without capitals, with their offsets."""
    if not _CASELESS.search(text):
        return
    found: dict[int, str] = {}
    for match in (*_phrases().finditer(text), *_FOREIGN.finditer(text)):
        found.setdefault(match.start(), match[0])
    for pattern in (_TITLE, *_beside()):
        for match in pattern.finditer(text):
            found.setdefault(match.start(1), match[1])
    yield from ((name, start) for start, name in sorted(found.items()))


def phrases_in(text: str) -> Iterator[str]:
    """Yield the phrases of names.yaml in scripts without capitals that a text has."""
    if _CASELESS.search(text):
        yield from (match[0] for match in _phrases().finditer(text))


@cache
def _phrases() -> re.Pattern[str]:
    phrases = {phrase for group in groups() for phrase in group if _CASELESS.search(phrase)}
    longest = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"(?<![\d十])(?:{'|'.join(map(re.escape, longest))})")


@cache
def _beside() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(line) for line in lines("caseless_names"))


def is_foreign(text: str) -> bool:
    """Whether a text has words in another script than Latin."""
    return not text.isascii() and bool(_OTHER_WORD.search(text))


@lru_cache(maxsize=64)
def sounds(text: str, *, latin: bool) -> frozenset[str]:
    """How the words of a text sound: those in Latin letters, or those in other scripts. Short ones are left out."""
    words = _LATIN_WORD.findall(text) if latin else _OTHER_WORD.findall(text)
    return frozenset(one for one in map(sound, words) if len(one) >= _LEAST)


@lru_cache(maxsize=1 << 12)
def sound(word: str) -> str:
    """The consonants of a word by their classes, equal ones in a row once."""
    plain = unicodedata.normalize("NFKD", word.lower()).replace("ph", "f")
    codes = (_CLASSES[consonant] for letter in plain for consonant in _consonants(letter) if consonant in _CLASSES)
    joined = "".join(codes)
    return re.sub(r"(\d)\1+", r"\1", joined)


@lru_cache(maxsize=1 << 12)
def _consonants(letter: str) -> str:
    """The consonants with which a letter is pronounced, from its name, such as DELTA or EM."""
    if letter.isascii():
        return letter
    name = _LETTER.search(unicodedata.name(letter, ""))
    if name is None:
        return ""
    cyrillic = "CYRILLIC" in unicodedata.name(letter)
    found = re.match(r"(?:[AEIOU]?)([^AEIOU]+)" if cyrillic else r"([^AEIOU]+)", name[1])
    return found[1].lower() if found else ""
