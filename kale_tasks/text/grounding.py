"""Grounding: whether the sources of a caption know the facts that it states.

A source knows a fact when it knows each of its words: as it stands, inflected, with one letter mistyped, abbreviated,
as a part of a longer word (a hashtag, a file name), as an acronym, or as the month of a written date. It does not know
what an acronym stands for: such expansions are guesses of the model.
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
_MISTYPED = 6  # from so many letters on, a word with one letter wrong is still that word


@dataclass(frozen=True)
class Grounding:
    """The facts of a caption by where they come from; a fact of both sources is in both."""

    facts: Set[str]
    from_alt: Set[str]
    from_dense: Set[str]

    @property
    def invented(self) -> Set[str]:
        """Facts that neither source knows."""
        return self.facts - self.from_alt - self.from_dense


def ground(caption: str, dense: str, alt: str) -> Grounding:
    """Where each fact of a caption comes from; one that only both together know counts as the alt-text's."""
    stated = facts(caption)
    in_alt, in_dense, in_both = _Source.of(alt), _Source.of(dense), _Source.of(f"{dense}\n{alt}")
    from_dense = frozenset(fact for fact in stated if in_dense.knows(fact))
    from_alt = frozenset(
        fact for fact in stated if in_alt.knows(fact) or (fact not in from_dense and in_both.knows(fact))
    )
    return Grounding(stated, from_alt, from_dense)


def invented(caption: str, dense: str, alt: str) -> Set[str]:
    """The facts of a caption that come from neither its dense caption nor its alt-text."""
    return ground(caption, dense, alt).invented


@dataclass(frozen=True)
class _Source:
    """A text, asked what it knows."""

    text: str

    @staticmethod
    @lru_cache(maxsize=64)
    def of(text: str) -> "_Source":
        return _Source(text)

    def knows(self, fact: str) -> bool:
        named = [word[0] for word in WORD.finditer(fact)]
        return all(self._knows_word(word) for word in named if word.lower() not in JOINERS and not is_plain(word))

    def _knows_word(self, word: str) -> bool:
        plain = squash(word)
        if self._knows_form(plain) or self._knows_parts(word):
            return True
        if plain.isdigit():
            return False
        return (
            any(plain.startswith(short) for short in self._abbreviated)
            or (len(plain) >= 5 and plain in self._long)
            or (word.rstrip("s").isupper() and len(word) >= 3 and self._knows_acronym(plain.rstrip("s")))
            or (len(plain) >= _MISTYPED and any(_one_letter_apart(plain, known) for known in self._forms))
        )

    def _knows_acronym(self, plain: str) -> bool:
        return plain in self._initials or any(form.startswith(plain) for form in self._forms)

    def _knows_form(self, plain: str) -> bool:
        forms = self._forms
        year = plain[2:] if re.fullmatch(r"(19|20)\d\d", plain) else plain  # a '95 Mustang is of 1995
        return not forms.isdisjoint((plain, plain.lstrip("0"), f"{plain}s", year)) or bool(_stems(plain) & self._stems)

    def _knows_parts(self, word: str) -> bool:
        # "3-bedroom" is known by its number, "Mouse-themed" by its name: what is written small is no fact.
        parts = [part for part in re.split(r"[\W_]+", word) if part]
        named = [part for part in parts if part[0].isupper() or part[0].isdigit()]
        pieces = [
            piece for part in named for piece in _PIECE.findall(_bare(part)) if piece[0].isupper() or piece.isdigit()
        ]
        return any(
            known and all(self._knows_form(squash(part)) for part in known)
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
    """A word without case, accents, marks and the possessive: what two spellings of a name share."""
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
