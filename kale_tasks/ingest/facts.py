# ruff: noqa: RUF001 - typographic variants of signs
"""The facts of an alt-text: what must be equal for two texts to be copies of each other.

Every word, number, sign and unit is a fact, in its order. Case, punctuation, accents and marks such as ™ are not; nor
is boilerplate: `photo of`, `stock photo`, `.jpg`, and the name of the site that shows the image.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kale_tasks.ingest.suspects import suspects

_CURRENCIES = "$€£¥₹₽₩₺₪¢฿₫₴₦"
# Typographic variants of one sign. Marks are removed, and fractions and powers set apart from the digits before them.
_PLAIN = str.maketrans(
    dict.fromkeys("–—‒―−‐‑", "-")
    | dict.fromkeys("“”„‟″", '"')
    | dict.fromkeys("‘’‚‛′`´", "'")
    | dict.fromkeys("™®©℠℗", " ")
    | {"×": "x", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "¹": "^1", "²": "^2", "³": "^3"}
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_QUOTED = re.compile(r"""(?<!\w)(["'])([^"']*)\1(?!\w)""")
_LETTERS = r"[^\W\d_](?:[^\W\d_]|[\u0900-\u0dff\u0e00-\u0eff\u0591-\u05c7\u064b-\u0652])*"
_TOKEN = re.compile(
    rf"{_LETTERS}"
    r"|(?<![\w.])\.\d+|\d+(?:[.,/]\d+)*"
    rf"|(?:^|(?<=[\s(\[~]))[-+<>≤≥±](?=[\d.{_CURRENCIES}])"
    rf"|[{_CURRENCIES}%°^]|(?<=\d)[\"'](?!\w)|(?<=\w)\+|(?<=[a-z])#(?!\w)"
)
_SIGNS = re.compile(r"[\d$%^#+]")
_FILLERS = frozenset({"the", "an", "and"})
_PICTURE = (
    r"(?:photo(?:graph(?:y|s)?|s)?|images?|pictures?|pics?|illustrations?|vectors?|clip ?arts?|wallpapers?|footage)"
)
_PREFIX = re.compile(rf"(?:(?:an?|the)\s+)?(?:stock\s+)?{_PICTURE}(?:\s+of|\s*[:-])\s+(?=\S)", re.I)
_STOCK = re.compile(
    rf"[\s|,:-]+(?:royalty[\s-]?free|stock|premium|free|hd)(?:[\s,-]+(?:{_PICTURE}|stock|royalty[\s-]?free|and|free"
    r"|premium|hd|downloads?|prints?))+\W*$",
    re.I,
)
_DOWNLOAD = re.compile(r"\s[|:-]+\s+(?:free\s+)?downloads?\W*$", re.I)
_DOMAIN = re.compile(
    r"(?:\s[|»›•·:-]+)?(?:\s(?:at|on|by|via|from))?\s(?:www\.)?[a-z0-9-]{2,}(?:\.[a-z]{2,6})?"
    r"\.(?:com|net|org|info|biz|shop|store|[a-z]{2})\W*$",
    re.I,
)
_FILE = re.compile(r"(?<=\w)\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|svg)\W*$", re.I)
_TAIL = re.compile(r"\s(?:[|»›•·]+|:+|-+)\s+(?=((?:(?!\s(?:[|»›•·]+|:+|-+)\s).)+)$)")
_NO_LETTERS = re.compile(r"[\W_]+")
_SEPARATORS, _STOCK_WORDS = (" |", " -", " :", " »", " ›", " •", " ·"), ("stock", "free", "premium", "hd", "download")
_TAIL_LETTERS = 80  # most letters of boilerplate at the end of a text
_SITE_LETTERS = 4  # fewest letters of a tail that the host must contain


# What a text has if it is more than words and plain numbers of ASCII: a sign that counts, or a sign of boilerplate.
_MORE = "|".join(
    [
        r"[$%^]|\w[+#]|[+#]\w|[.,:/]\d|\d[\"']|(?:^|[^a-z0-9])[-<>+][\d.]",
        rf"^(?:an?\s+|the\s+)?(?:stock\s|{_PICTURE}\b)",
        r"\s(?:\||:+|-+)\s|\.[a-z]{2,6}\W*$",
        r"[\s|,:-](?:royalty|stock|premium|free|hd)|[|:-]\s+(?:free\s+)?download",
    ]
)
_LINE_END, _SPACE, _ZERO, _NINE, _A, _Z = (ord(sign) for sign in "\n 09az")


def all_facts(texts: Sequence[str], folded: Sequence[str], hosts: Sequence[str], *, strict: bool) -> list[str]:
    """Return the facts of repaired texts, of which the folded forms are known."""
    more = suspects(_MORE, pa.array(texts, pa.string()))
    plain = iter(_plain_facts([words for words, some in zip(folded, more, strict=True) if not some]))
    return [
        facts_of(text, host, strict=strict) if some else next(plain) or text
        for text, host, some in zip(texts, hosts, more, strict=True)
    ]


def _plain_facts(folded: Sequence[str]) -> list[str]:
    """Return the facts of folded texts of plain words and numbers, as one long text."""
    signs = np.frombuffer(" \n".join(["", *folded, ""]).encode(), np.uint8)
    letter, digit = ((signs >= first) & (signs <= last) for first, last in ((_A, _Z), (_ZERO, _NINE)))
    left_out = np.zeros(len(signs), bool)
    for word in _FILLERS:
        size = len(word)
        found = ~letter[: -size - 1] & ~letter[size + 1 :]  # the signs before and behind it
        for place, sign in enumerate(word, 1):
            found &= signs[place : place - size - 1] == ord(sign)
        for place in range(size):
            left_out[1 + place : place - size] |= found
    counts = ((letter & ~left_out) | digit | (signs == _LINE_END)).astype(np.int8)
    begins = digit & ~np.roll(digit, 1)  # the first digit of each number
    counts += begins
    facts = np.repeat(signs, counts)
    facts[(np.cumsum(counts, dtype=np.int64) - counts)[begins]] = _SPACE
    return facts.tobytes().decode().split("\n")[1:]


def facts_of(text: str, host: str = "", *, strict: bool = False) -> str:
    """Return the facts of a repaired text as one string. `strict`: boilerplate counts too."""
    if not text.isascii():
        text = _plain(text)
    if not strict:
        text = _without_boilerplate(text, host)
    return _joined(_tokens(text.casefold())) or text


def _joined(tokens: list[str]) -> str:
    # Words are joined, so that `well-known`, `well known` and `wellknown` are equal; numbers are kept apart.
    return "".join([f" {t}" if t[-1].isdigit() else t for t in tokens if t not in _FILLERS])


def _tokens(text: str) -> list[str]:
    if text.isascii() and not _SIGNS.search(text):
        return _NO_LETTERS.sub(" ", text).split()  # words alone: the same in a fifth of the time
    if "," in text:
        text = _THOUSANDS.sub("", text)
    if '"' in text or "'" in text:
        text = _QUOTED.sub(r" \2 ", text)
    return _TOKEN.findall(text)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text.translate(_PLAIN))
    if folded.isascii():
        return folded
    parts = (unicodedata.normalize("NFD", c)[0] if "À" <= c <= "ɏ" or "Ḁ" <= c <= "ỿ" else c for c in folded)
    return "".join(parts)


def _without_boilerplate(text: str, host: str) -> str:
    left = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    if "." in left[-6:]:
        left = _FILE.sub("", left)
    for _ in range(2):  # such as ` - Stock Photo | Site`
        shorter = _without_tail(left, host)
        if shorter == left or not shorter:
            break
        left = shorter
    return left or text


def _without_tail(text: str, host: str) -> str:
    begin = max(0, len(text) - _TAIL_LETTERS)
    end = text[begin:]
    found = _site_tail(end, host)
    if not found and "." in end:
        found = _DOMAIN.search(end)
    if not found and any(word in end.lower() for word in _STOCK_WORDS):
        found = _STOCK.search(end) or _DOWNLOAD.search(end)
    return text[: begin + found.start()] if found else text


def _site_tail(end: str, host: str) -> re.Match[str] | None:
    if not any(sign in end for sign in _SEPARATORS) or not (tail := _TAIL.search(end)):
        return None
    letters = _NO_LETTERS.sub("", host)
    names = {_NO_LETTERS.sub("", tail[1].replace("&", also)).lower().removeprefix("the") for also in ("", "and")}
    return tail if any(len(name) >= _SITE_LETTERS and name in letters for name in names) else None
