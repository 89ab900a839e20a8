"""Normal forms of alt-texts for reading and for comparing, and their hashes."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

import ftfy
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_TAG = re.compile(
    r"</?(?:a|b|i|u|p|br|em|strong|span|div|img|font|li|ul|ol|h[1-6]|sup|sub|small|td|tr|table|hr)\b[^<>]{0,300}/?>",
    re.I,
)
_TO_REPAIR = r"[&<]|[^ -~]|  |^ | $"  # what a text has if it is repaired
_SPACE = re.compile(r"\s+")
_NO_LETTERS = re.compile(r"[\W_]+")
# Invisible characters: controls, zero-width marks, direction overrides, soft hyphen, byte order mark.
_UNSEEN = dict.fromkeys([*range(0x00, 0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010),
                         *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xE0000, 0xE0080)])  # fmt: skip
_BLANK = ord(" ")
# What a byte of a text becomes when it is folded; texts are divided by line ends, which no repaired text has.
_FOLDED = bytes(ord(c.lower()) if c.isalnum() or c == "\n" else _BLANK for c in map(chr, range(128))) + bytes(128)
_FIX = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=False, explain=False)


def repair(text: str) -> str:
    """Remove HTML, mojibake, invisible characters and superfluous white space from a text."""
    if "&" in text:
        text = html.unescape(html.unescape(text))
    if "<" in text:
        text = _TAG.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", ftfy.fix_text(text, _FIX))
    if not text.isprintable():
        text = text.translate(_UNSEEN)
    return _SPACE.sub(" ", text).strip()


def repair_all(texts: Sequence[str]) -> list[str]:
    """Repair each text; most need no repair, which a whole column is asked at once."""
    broken = pc.match_substring_regex(pa.array(texts, pa.string()), _TO_REPAIR).to_pylist()
    return [repair(text) if some else text for text, some in zip(texts, broken, strict=True)]


def fold(text: str) -> str:
    """Reduce a repaired text to the form in which near copies are equal: without case, punctuation and ligatures."""
    folded = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _NO_LETTERS.sub(" ", folded).strip() or text


def fold_all(texts: Sequence[str]) -> list[str]:
    """Fold each repaired text; those of ASCII, which most are, as one long text."""
    plain = [text for text in texts if text.isascii()]
    letters = np.frombuffer("\n".join(plain).encode().translate(_FOLDED), np.uint8)
    blank = letters == _BLANK
    folded = (text.strip() for text in letters[~(blank & np.roll(blank, 1))].tobytes().decode().split("\n"))
    return [(next(folded) or text) if text.isascii() else fold(text) for text in texts]


def hash64(value: bytes) -> int:
    """Return a signed 64-bit hash that is the same on every machine."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big", signed=True)


def hash64_all(values: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return the hash of each text in UTF-8."""
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(value.encode(), digest_size=8).digest() for value in values])
    return np.frombuffer(digests, ">i8").astype(np.int64)
