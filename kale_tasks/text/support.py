"""A source text, indexed for the question whether it supports a fact."""

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

from kale_tasks.text.facts import JOINERS, WORD, is_number, is_numeral, is_plain
from kale_tasks.text.numbers import ascii_digits, implied, roman, stated
from kale_tasks.text.scripts import is_foreign, phrases_in, sound, sounds
from kale_tasks.text.words import common_words, groups, words

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")
_DATES = (
    re.compile(r"(?<!\d)\d{4}[-/.年](\d{1,2})(?!\d)"),
    re.compile(r"(?<![\d.])(\d{1,2})[-/.](\d{1,2})[-/.]\d{2,4}(?!\d)"),
)
_WHOLE_WORD = re.compile(r"[^\W_]+(?:[.'\u2019][^\W_]+)*")
_MONTHS = words("months")
_ABBREVIATED = re.compile(r"([^\W\d_]{3,})(?:\.\.+|…|(?<!\w{6})\.|\W*$)")
_ENDINGS = words("endings")
_MISTYPED = 6  # letters from which on a word may have two exchanged, or one too many or too few
_ONE_WRONG = 8  # letters from which on it may have a wrong one
_LONGEST = 5  # words of the longest phrase of names.yaml


@dataclass(frozen=True)
class Source:
    """What a caption may take its facts from."""

    text: str

    @staticmethod
    @lru_cache(maxsize=64)
    def of(text: str) -> "Source":
        """The source of a text; an index is made once."""
        return Source(text)

    def supports(self, fact: str) -> bool:
        """Whether the text supports a name or a number."""
        if not fact.isascii() and (squashed := squash(fact)) and squashed in self._squashed:
            return True
        first = fact.split(maxsplit=1)[0] if fact.split() else fact
        if is_number(first):
            return self._has_number(fact)
        if fact.lower() == fact.upper():  # of a script without capitals
            return bool(_groups_of(fact) & self._groups) or self._sounds_like(fact)
        return self._has_name(fact)

    def _has_number(self, fact: str) -> bool:
        plain = squash(fact)
        if plain in self._forms or _groups_of(fact) & self._groups:
            return True
        values = stated(fact)
        if re.fullmatch(r"[\W\d]*(?:s|st|rd|th|[n]d)?", ascii_digits(fact).lower()) or plain.isalpha() or " " in fact:
            return bool(values & self._values)
        return self._has_parts(fact) or (len(plain) >= 3 and plain in self._long)

    def _has_name(self, fact: str) -> bool:
        spelled = [word[0] for word in WORD.finditer(fact)]
        rest: list[str] = []
        translated = False
        for phrase, known in _phrases([squash(word) for word in spelled]):
            if known and not known & self._groups and f" {phrase} " not in self._long:
                return False
            translated |= bool(known) and bool(is_foreign(self.text))
            rest += [] if known else phrase.split(" ")
        left = [word for word in spelled if squash(word) in rest]
        named = [word for at, word in enumerate(left) if _counts(word, last=at == len(left) - 1)]
        common = all(word.lower() in common_words() for word in named)
        if common and translated:
            return True  # "Tokyo Tower" of a text in Japanese
        if common and len(named) > 1:
            return self._has_common(left, named)
        return all(self._has_word(word) for word in named) or self._sounds_like(fact)

    def _has_common(self, left: Sequence[str], named: Sequence[str]) -> bool:
        """Whether a name of common words, such as "White House", is in the text as a name."""
        if f" {' '.join(squash(word).removesuffix('s') for word in left)} " in self._singular:
            return True
        return all(self._has_word(word) and (word in self._capitalised or len(named) > 3) for word in named)

    def _has_word(self, word: str) -> bool:
        plain = squash(word)
        if not self._forms.isdisjoint((plain, f"{plain}s")) or _groups_of(word) & self._groups:
            return True
        if (value := roman(word)) is not None:
            return str(value) in self._values
        if self._has_parts(word):
            return True
        if plain in _known_names():
            return plain.removesuffix("s") in self._forms
        return (
            bool(_stems(plain) & self._stems)
            or any(plain.startswith(short) and len(plain) > len(short) + 1 for short in self._abbreviated)
            or (len(plain) >= 5 and any(plain in token for token in self._compounds))
            or (word.rstrip("s").isupper() and len(word) >= 3 and self._has_acronym(plain.rstrip("s")))
            or (len(plain) >= _MISTYPED and any(mistyped(plain, known) for known in self._names))
        )

    def _sounds_like(self, fact: str) -> bool:
        heard = [sound(word) for word in fact.split() if word.lower() not in common_words()]
        return bool(heard) and all(one in sounds(self.text, latin=is_foreign(fact)) for one in heard)

    def _has_acronym(self, plain: str) -> bool:
        return any(plain in initials for initials in self._initials) or any(
            token.startswith(plain) for token in self._compounds
        )

    def _has_parts(self, word: str) -> bool:
        # "3-bedroom" is supported by its number, "Mouse-themed" by its name; lower-case parts are not facts.
        parts = [part for part in re.split(r"[\W_]+", word) if part]
        named = [part for part in parts if part[0].isupper() or part[0].isdigit()]
        pieces = [
            piece for part in named for piece in _PIECE.findall(_bare(part)) if piece[0].isupper() or piece.isdigit()
        ]
        return any(
            known and all(self._has_part(part) for part in known)
            for known in (
                named if len(parts) > 1 else [],
                [piece for piece in pieces if piece.isdigit() or len(piece) > 2] if len(pieces) > 1 else [],
            )
        )

    def _has_part(self, part: str) -> bool:
        if part.isdigit():
            return not stated(part).isdisjoint(self._values) or part in self._forms
        plain = squash(part)
        if plain in _known_names():
            return plain in self._forms or bool(_groups_of(part) & self._groups)
        return bool(_stems(plain) & self._stems)

    @cached_property
    def _spelled(self) -> list[str]:
        return [word[0] for word in WORD.finditer(self.text.replace("_", " "))]

    @cached_property
    def _capitalised(self) -> Set[str]:
        return {piece for word in self._spelled for piece in (word, *re.split(r"[\W_]+", word)) if piece[:1].isupper()}

    @cached_property
    def _forms(self) -> Set[str]:
        return {form for word in self._spelled for form in _forms_of(word)} | set(_months(self.text))

    @cached_property
    def _values(self) -> Set[str]:
        return implied(self.text)

    @cached_property
    def _groups(self) -> Set[int]:
        squashed = [squash(word) for word in self._spelled]
        found = set().union(*(group for _, group in _phrases(squashed, self._spelled)))
        found = found.union(*(_by_phrase().get(phrase, ()) for phrase in phrases_in(self.text)))
        return found.union(*(_by_phrase().get(month, ()) for month in _months(self.text)))

    @cached_property
    def _stems(self) -> Set[str]:
        return {stem for form in self._forms if form not in _known_names() for stem in _stems(form)} | self._forms

    @cached_property
    def _long(self) -> str:
        return f" {' '.join(map(squash, _WHOLE_WORD.findall(self.text)))} "

    @cached_property
    def _singular(self) -> str:
        return self._long.replace("s ", " ")

    @cached_property
    def _squashed(self) -> str:
        return squash(self.text)

    @cached_property
    def _compounds(self) -> Set[str]:
        """Words that may hold others, such as hashtags: those that are no common words."""
        return {plain for word in self._spelled if (plain := squash(word)) and plain not in common_words()}

    @cached_property
    def _names(self) -> Set[str]:
        """Words that may be mistyped."""
        return {form for form in self._forms if len(form) >= _MISTYPED - 1 and form not in common_words()}

    @cached_property
    def _initials(self) -> tuple[str, ...]:
        every = "".join(squash(word)[:1] for word in self._spelled)
        return every, "".join(squash(word)[:1] for word in self._spelled if word.lower() not in JOINERS | {"and"})

    @cached_property
    def _abbreviated(self) -> Set[str]:
        short = {squash(word) for word in _ABBREVIATED.findall(self.text)}
        return {word for word in short if word not in common_words()}


@lru_cache(maxsize=1 << 14)
def squash(word: str) -> str:
    """Reduce a word to what different spellings share: no case, accents, punctuation or possessive ending."""
    plain = re.sub(r"['\u2019]s$", "", _bare(word).casefold())
    return re.sub(r"[\W_]", "", plain)


def mistyped(one: str, other: str) -> bool:
    """Whether two words differ by a slip: two letters exchanged, one too many, or in a long word one wrong.

    A different last letter makes another name, such as Martin and Martina or Alexandra and Alexandre.
    """
    if abs(len(one) - len(other)) > 1 or one[0] != other[0] or one[-1] != other[-1]:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, others = one[start:], other[start:]
    return (
        rest[1:] == others or rest == others[1:]
        or (rest[2:] == others[2:] and rest[:2] == others[1::-1])
        or (len(one) >= _ONE_WRONG and rest[1:] == others[1:] and len(rest) > 2)
    )  # fmt: skip


def _counts(word: str, *, last: bool) -> bool:
    return (last and is_numeral(word)) or not (word.lower() in JOINERS or is_plain(word))


def _forms_of(word: str) -> Iterator[str]:
    parts = [word, *_PIECE.findall(_bare(word)), *re.split(r"[\W_]+", word)]
    for plain in map(squash, parts):
        if plain:
            yield plain
            yield plain.lstrip("0")


def _months(text: str) -> Iterator[str]:
    for pattern in _DATES:
        for date in pattern.finditer(text):
            yield from (_MONTHS[int(part) - 1] for part in date.groups() if 1 <= int(part) <= 12)


@cache
def _by_phrase() -> dict[str, Set[int]]:
    """The groups of names.yaml by phrase, squashed."""
    found: dict[str, set[int]] = {}
    for number, group in enumerate(groups()):
        for phrase in group:
            squashed = " ".join(filter(None, map(squash, phrase.split())))
            for form in (phrase, squashed, squashed.replace(" ", "")):
                found.setdefault(form, set()).add(number)
    return dict(found)


@cache
def _known_names() -> Set[str]:
    """Single words of names.yaml."""
    return {phrase for phrase in _by_phrase() if " " not in phrase}


def _groups_of(word: str) -> Set[int]:
    plain = squash(word)
    return _by_phrase().get(plain) or _by_phrase().get(plain.removesuffix("s"), frozenset())


def _phrases(squashed: Sequence[str], written: Sequence[str] = ()) -> Iterator[tuple[str, Set[int]]]:
    """Split words into the longest phrases of names.yaml, with their groups, and other words, with none.

    With the words as written, a phrase counts only where it is unmistakable.
    """
    at = 0
    while at < len(squashed):
        for size in range(min(_LONGEST, len(squashed) - at), 0, -1):
            phrase = " ".join(squashed[at : at + size])
            known = _by_phrase().get(phrase) or _by_phrase().get(phrase.removesuffix("s"))
            if known and (size > 1 or not written or _unmistakable(squashed, written, at)):
                yield phrase, known
                break
        else:
            size = 1
            yield squashed[at], frozenset()
        at += size


def _unmistakable(squashed: Sequence[str], written: Sequence[str], at: int) -> bool:
    word = squashed[at]
    if len(word) <= 2 and not any(letter.isdigit() for letter in word):
        return written[at].isupper() or word in ("st", "mt", "dr", "ft", "jr", "sr", "rd", "vw", "hp", "ep", "ch")
    if word not in common_words():
        return True
    if len(word) > 3:
        return written[at][:1].isupper()
    return any(near.isdigit() for near in (*squashed[max(0, at - 1) : at], *squashed[at + 1 : at + 2]))


@lru_cache(maxsize=1 << 14)
def _stems(word: str) -> Set[str]:
    return {word, *(word[: -len(end)] for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 4)}


@lru_cache(maxsize=1 << 14)
def _bare(word: str) -> str:
    if word.isascii():
        return word
    decomposed = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
