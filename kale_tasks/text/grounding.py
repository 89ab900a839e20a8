"""Grounding: checks whether the sources of a caption support the facts that it states.

A source supports a fact if it has each of the fact's words: literally, inflected, with one letter mistyped,
abbreviated, as a part of a longer word (a hashtag, a file name), as an acronym, or as the month of a date in digits.
An acronym does not support its expansion: the model may have guessed that.
"""

import re
import unicodedata
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache

from kale_tasks.text.facts import JOINERS, WORD, facts, is_plain
from kale_tasks.text.words import lines, pairs, words

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")
_DATE = re.compile(r"(?<!\d)(\d{1,4})[-/.年](\d{1,2})(?!\d)")
_ABBREVIATED = re.compile(r"([^\W\d_]{3,})(?:\.|…|\W*$)")
_ENDINGS, _MONTHS, _NUMBERS = words("endings"), words("months"), pairs("numbers")
_SAME = [frozenset(group.split()) for group in lines("same")]
_MISTYPED = 6  # letters from which on a word may have one wrong letter


@dataclass(frozen=True)
class Grounding:
    """The facts of a caption by source. A fact that both sources support is in both sets."""

    facts: Set[str]
    from_alt: Set[str]
    from_dense: Set[str]

    @property
    def invented(self) -> Set[str]:
        """The facts that neither source supports."""
        return self.facts - self.from_alt - self.from_dense


def ground(caption: str, dense: str, alt: str) -> Grounding:
    """Find the sources of each fact of a caption.

    A fact that only both sources together support counts as from the alt-text.
    """
    stated = facts(caption)
    alt_source, dense_source, joint_source = _Source.of(alt), _Source.of(dense), _Source.of(f"{dense}\n{alt}")
    from_dense = frozenset(fact for fact in stated if dense_source.supports(fact))
    from_alt = frozenset(
        fact for fact in stated if alt_source.supports(fact) or (fact not in from_dense and joint_source.supports(fact))
    )
    return Grounding(stated, from_alt, from_dense)


def invented(caption: str, dense: str, alt: str) -> Set[str]:
    """Return the facts of a caption that neither its dense caption nor its alt-text supports."""
    return ground(caption, dense, alt).invented


@dataclass(frozen=True)
class _Source:
    """A source text, indexed for checks of facts."""

    text: str

    @staticmethod
    @lru_cache(maxsize=64)
    def of(text: str) -> "_Source":
        return _Source(text)

    def supports(self, fact: str) -> bool:
        named = [word[0] for word in WORD.finditer(fact)]
        return all(self._has_word(word) for word in named if word.lower() not in JOINERS and not is_plain(word))

    def _has_word(self, word: str) -> bool:
        plain = squash(word)
        if self._has_form(plain) or self._has_parts(word):
            return True
        if plain.isdigit():
            return False
        return (
            any(plain.startswith(short) for short in self._abbreviated)
            or (len(plain) >= 5 and plain in self._long)
            or (word.rstrip("s").isupper() and len(word) >= 3 and self._has_acronym(plain.rstrip("s")))
            or (len(plain) >= _MISTYPED and any(_one_letter_apart(plain, known) for known in self._forms))
        )

    def _has_acronym(self, plain: str) -> bool:
        return plain in self._initials or any(form.startswith(plain) for form in self._forms)

    def _has_form(self, plain: str) -> bool:
        forms = self._forms
        year = plain[2:] if re.fullmatch(r"(19|20)\d\d", plain) else plain  # '95 supports 1995
        return not forms.isdisjoint((plain, plain.lstrip("0"), f"{plain}s", year)) or bool(_stems(plain) & self._stems)

    def _has_parts(self, word: str) -> bool:
        # "3-bedroom" is supported by its number, "Mouse-themed" by its name; lower-case parts are not facts.
        parts = [part for part in re.split(r"[\W_]+", word) if part]
        named = [part for part in parts if part[0].isupper() or part[0].isdigit()]
        pieces = [
            piece for part in named for piece in _PIECE.findall(_bare(part)) if piece[0].isupper() or piece.isdigit()
        ]
        return any(
            known and all(self._has_form(squash(part)) for part in known)
            for known in (
                named if len(parts) > 1 else [],
                [piece for piece in pieces if piece.isdigit() or len(piece) > 2],
            )
        )

    @cached_property
    def _spelled(self) -> list[str]:
        return [word[0] for word in WORD.finditer(self.text.replace("_", " "))]

    @cached_property
    def _forms(self) -> Set[str]:
        forms = {form for word in self._spelled for form in _forms_of(word)} | set(_months(self.text))
        return forms.union(*(same for same in _SAME if forms & same))

    @cached_property
    def _stems(self) -> Set[str]:
        return {stem for form in self._forms for stem in _stems(form)}

    @cached_property
    def _long(self) -> str:
        return f" {' '.join(map(squash, self._spelled))} "

    @cached_property
    def _initials(self) -> str:
        return "".join(squash(word)[:1] for word in self._spelled)

    @cached_property
    def _abbreviated(self) -> Set[str]:
        return {squash(word) for word in _ABBREVIATED.findall(self.text)}


def squash(word: str) -> str:
    """Reduce a word to what different spellings share: no case, accents, punctuation or possessive ending."""
    plain = re.sub(r"['\u2019]s$", "", _bare(word).casefold())
    return re.sub(r"[\W_]", "", plain)


def _forms_of(word: str) -> Iterator[str]:
    parts = [word, *_PIECE.findall(_bare(word)), *re.split(r"[\W_]+", word)]
    for plain in map(squash, parts):
        if plain:
            yield plain
            yield plain.lstrip("0")
    if (small := squash(word)) in _NUMBERS:
        yield _NUMBERS[small]


def _months(text: str) -> Iterator[str]:
    for date in _DATE.findall(text):
        yield from (_MONTHS[int(part) - 1] for part in date if 1 <= int(part) <= 12)
    for short in re.findall(r"\b[A-Z][a-z]{2,3}\b", text):
        yield from (month for month in _MONTHS if month.startswith(short.lower()))


@lru_cache(maxsize=1 << 14)
def _stems(word: str) -> Set[str]:
    return {word, *(word[: -len(end)] for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 4)}


def _one_letter_apart(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, others = one[start:], other[start:]
    return (
        rest[1:] == others[1:] or rest[1:] == others or rest == others[1:]
        or (rest[2:] == others[2:] and rest[:2] == others[1::-1])
    )  # fmt: skip


def _bare(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
