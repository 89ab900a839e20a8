"""Prepares alt-text for prompts: recognises noise, and cuts off instructions to a model."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kale_tasks.text.sentences import sentences
from kale_tasks.text.taming import find_orders, readings
from kale_tasks.text.words import pattern, words

ALT_AS_IS = "alt_as_is"  # flag of a text that is the alt-text: no model wrote it
_WORD = re.compile(r"\w+")
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts that set names apart by no space
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_QUOTED = re.compile(r"[\"'\u2018\u201c]([^\"'\u2019\u201d]{3,80})[\"'\u2019\u201d]")
# Words with which instructions begin; a caption may have them by itself.
_COMMON = frozenset(words("order_words"))
_EMPTY_WORDS, _EMPTY_ADS = frozenset(words("empty_words")), frozenset(words("empty_ads"))
_WORDS_FOR_A_BOAST = 8  # advertising that a text of this many words has twice is what it is about
_FILE_ENDING = re.compile(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif)\W*$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class PromptAlt:
    """An alt-text as prompts and captions use it."""

    text: str  # without instructions; may be noise
    cut: str  # the instructions that were cut off
    noise: str  # why the text says nothing about its image, as `alt_noise` returns it; empty: it is useful

    @property
    def useful(self) -> str:
        """The text if it is not noise, otherwise an empty string."""
        return "" if self.noise else self.text

    @property
    def instruction_flags(self) -> list[str]:
        """Caption flag for alt-text that contained instructions."""
        return ["alt_orders"] if self.cut else []

    @property
    def noise_flags(self) -> list[str]:
        """Caption flags for alt-text that is noise."""
        return ["alt_noise", f"alt_{self.noise}"] if self.noise else []


_EMPTY = PromptAlt("", "", "empty")


def prepare_alt(alt: str | None) -> PromptAlt:
    """Cut instructions off an alt-text and judge whether what remains is noise."""
    if not alt:
        return _EMPTY
    text = without_instructions(alt)
    return PromptAlt(text, alt[len(text) :], alt_noise(text))


def alt_noise(alt: str) -> str:
    """Return why an alt-text says nothing about its image, or an empty string if it does.

    The reasons are: empty, generic, spam, no_words, repeated.
    """
    text = alt.strip()
    said, words = _said(text), _WORD.findall(text.lower())
    tests: dict[str, Callable[[], Any]] = {
        "empty": lambda: not text,
        "generic": lambda: pattern("noise").search(text) or (said and said <= _EMPTY_WORDS),
        "spam": lambda: (said and said <= _EMPTY_WORDS | _EMPTY_ADS) or _boasts(text, len(words)),
        "no_words": lambda: sum(map(str.isalpha, text)) < len(text) / 3,
        "repeated": lambda: len(words) >= 8 and Counter(words).most_common(1)[0][1] > len(words) / 2,
    }
    return next((name for name, holds in tests.items() if holds()), "")


def _boasts(text: str, words: int) -> bool:
    """Whether advertising is what a text is about."""
    found = {match[0].lower() for match in pattern("spam").finditer(text)}
    return len(found) >= 2 and words <= _WORDS_FOR_A_BOAST * len(found)


def _said(text: str) -> set[str]:
    """The words of a text, also those of a file name; numbers and the ending of the file are none."""
    bare = _FILE_ENDING.sub("", text)
    spaced = _CAMEL.sub(" ", bare) if " " not in bare else bare
    return {word for word in re.findall(r"[^\W\d_]+", spaced.lower()) if len(word) > 1 or not word.isascii()}


def without_instructions(alt: str) -> str:
    """Return the sentences of a text before the first one that gives instructions to a model."""
    start = find_orders(alt)
    if start is None:
        return alt
    kept = ""
    for sentence in sentences(alt):
        if len(kept) + len(sentence) > start:
            break
        kept += sentence
    return kept.rstrip()


def injected_words(cut: str, *sources: str) -> set[str]:
    """Return the words of cut instructions that would show in a caption that obeyed them.

    These are names, words in capitals and quoted words that none of the sources has, also if they are disguised.
    """
    texts = list(dict.fromkeys(readings(cut)))
    known = set[str]().union(*map(words_of, sources))
    marked = {word for text in texts for word in _RUN.findall(text) if len(word) >= 4 and word[:1].isupper()}
    quotes = [match for text in texts for match in _QUOTED.findall(text)]
    quoted = {word for match in quotes for word in _RUN.findall(match) if len(word) >= 4}
    return {word.lower() for word in marked | quoted} - known - _COMMON


def words_of(text: str) -> set[str]:
    """Return the words of a text in small letters. Scripts without spaces end a word of any other script."""
    return {word.lower() for word in _RUN.findall(text)}
