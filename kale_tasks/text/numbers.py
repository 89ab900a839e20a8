"""Numbers however they are written: in digits, words or Roman numerals, with grouped digits, magnitudes and decades."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from kale_tasks.text.words import pairs

_COUNTS = {word: int(value) for word, value in pairs("counts").items()}
_SCALES = {word: int(value) for word, value in pairs("scales").items()}
_ORDINALS = {word: int(value) for word, value in pairs("ordinals").items()}
_NUMBER = re.compile(
    r"(?P<digits>\d{1,3}(?:[,.\u2019'\u00a0\u202f ]\d{3})+(?![\d])|\d+(?:[.,]\d+)*)"
    r"(?:[ -]?(?P<scale>[^\W\d_]+)\b)?"
)
_SCALED = {"k": 1000, "m": 10**6, "mn": 10**6, "mio": 10**6, "bn": 10**9, "b": 10**9, **_SCALES}
_WORD = re.compile(r"[^\W\d_]+")
_ROMAN = re.compile(r"(?=[IVXLC])(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_SHORT_YEAR = re.compile(r"['\u2019](\d\d)(?!\d)s?\b|(?<![\d.,])(\d\d)(?![\d.,:]|\s*[a-z\d]|\s*[%\"\u2033])")
_TWO = re.compile(r"\b(both|pair|couple|duo|twin|double|dual|another|vs)\b|(?<=[\w.] )&", re.IGNORECASE)
_TWO_NAMES = re.compile(r"\b[A-Z][a-z]+ (?:and|&) [A-Z][a-z]+")
_CLAUSE, _AND = re.compile(r"[.;]"), re.compile(r"\band\b|&", re.IGNORECASE)


def is_count(word: str) -> bool:
    """Whether a word, such as "seven" or "twenty-five", is a number in words."""
    return all(part in _COUNTS or part in _SCALES for part in word.lower().split("-"))


def spelled(words: Sequence[str]) -> int | None:
    """The value of a number in words; None if it has none that is exact, as "hundreds" or "one" by itself."""
    parts = [part for word in words for part in word.lower().split("-")]
    if parts == ["one"]:
        return None
    total, current = 0, 0
    for part in parts:
        if part in _COUNTS:
            current += _COUNTS[part]
        elif part in _SCALES:
            scale = _SCALES[part]
            current = max(current, 1) * scale
            if scale >= 1000:
                total, current = total + current, 0
        else:
            return None
    return total + current


def roman(word: str) -> int | None:
    """The value of a Roman numeral up to 399; None if a word is none."""
    if not _ROMAN.fullmatch(word):
        return None
    values = [_ROMAN_VALUES[letter] for letter in word]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


@lru_cache(maxsize=1 << 12)
def stated(fact: str) -> frozenset[str]:
    """What a number of a caption says: one of these values must be in a source."""
    plain = ascii_digits(fact)
    if decade := re.fullmatch(r"['\u2019]?(?:(\d\d))?(\d0)['\u2019]?s", plain):
        return frozenset([f"{decade[1] or '19'}{decade[2]}s"])
    found = list(_in_digits(plain))
    if found:
        return frozenset(found)
    value = spelled(fact.split())
    return frozenset() if value is None else frozenset([str(value)])


def implied(text: str) -> frozenset[str]:
    """All values that a source supports."""
    plain = ascii_digits(text)
    found = set(_in_digits(plain))
    found |= {_decade(year) for year in found if re.fullmatch(r"(1[5-9]|20)\d\d", year)}
    found |= {f"{century}{decade}s" for century, decade in re.findall(r"\b(1\d|20)(\d0)['\u2019]?s\b", plain)}
    found |= {f"19{decade}s" for decade in re.findall(r"(?<!\d)['\u2019]?([2-9]0)['\u2019]?s\b", plain)}
    for pieces in _SHORT_YEAR.findall(plain):
        found |= {f"{century}{year}" for century in ("19", "20") for year in pieces if year}
    found |= set(_in_words(plain)) | set(_in_numerals(text))
    if _TWO.search(text) or _TWO_NAMES.search(text):
        found.add("2")
    found |= {str(commas + others) for commas in _listed(text) for others in (1, 2)}
    return frozenset(found)


def _listed(text: str) -> Iterator[int]:
    """The commas of each list in a text, which its last "and" ends."""
    for clause in _CLAUSE.split(text):
        if (first := clause.find(",")) >= 0 and (ends := [match.start() for match in _AND.finditer(clause, first)]):
            yield clause.count(",", first, ends[-1])


def ascii_digits(text: str) -> str:
    """Write digits of every script, and full-width ones, as 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.digit(c)) if c.isdigit() and c.isdecimal() else c for c in text)


def _in_digits(text: str) -> Iterator[str]:
    for match in _NUMBER.finditer(text):
        digits, scale = match["digits"], (match["scale"] or "").lower()
        grouped = re.fullmatch(r"\d{1,3}(?:[,.\u2019'\u00a0\u202f ]\d{3})+", digits)
        parts = re.split(r"[.,]", digits)
        if grouped:
            yield _scaled(re.sub(r"\D", "", digits), scale)
        elif len(parts) == 1:
            yield _scaled(digits, scale)
        elif len(parts) == 2 and "." in digits:
            yield _scaled(".".join(parts), scale)
            if _is_time(text, match):
                yield from map(_plain, parts)
        else:
            yield from map(_plain, parts)
            if len(parts) == 2:
                yield _scaled(".".join(parts), scale)


def _is_time(text: str, match: re.Match[str]) -> bool:
    return bool(re.match(r"\s?(?:[ap]\.?m\b|uhr\b|h\b)", text[match.end("digits") :], re.IGNORECASE))


def _scaled(digits: str, scale: str) -> str:
    if scale not in _SCALED:
        return _plain(digits)
    value = float(digits) * _SCALED[scale]
    return str(int(value)) if value == int(value) else str(value)


def _plain(digits: str) -> str:
    whole = digits.lstrip("0") or "0"
    return f"0{whole}" if whole.startswith(".") else whole


def _decade(year: str) -> str:
    return f"{year[:3]}0s"


def _in_words(text: str) -> Iterator[str]:
    run: list[str] = []
    for match in [*re.finditer(r"[^\W\d_]+(?:-[^\W\d_]+)*", text), None]:
        word = match[0].lower() if match else ""
        if word and is_count(word):
            run.append(word)
            continue
        if run and (value := spelled(run)) is not None:
            yield str(value)
        run = []
        yield from (str(_ORDINALS[part]) for part in word.split("-") if part in _ORDINALS)
        yield from (str(_COUNTS[part]) for part in word.split("-")[:1] if part in _COUNTS and part != "one")
        if word in ("nineties", "eighties", "seventies", "sixties", "fifties", "forties", "thirties", "twenties"):
            yield f"19{_COUNTS[word.replace('ies', 'y')]}s"


def _in_numerals(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        if match[0].isupper() and (value := roman(match[0])) is not None:
            yield str(value)
